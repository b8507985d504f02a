package part

import "relive/tree/systest"

// Mount mounts as mount -t kind -o options what at does, at a path that is made when it
// is missing, until it is unmounted by [Part.UnmountDownTo], at the end of the part at
// the latest.
func (p *Part) Mount(kind, options, what, at string) {
	p.Helper()
	if !Exists(at) {
		p.MkdirAll(at)
	}
	p.mounts = append(p.mounts, systest.MountAt(p.top, kind, options, what, at))
}

// Mounts returns how many mounts there are, for [Part.UnmountDownTo].
func (p *Part) Mounts() int { return len(p.mounts) }

// UnmountDownTo undoes the newest mounts until that many are left.
func (p *Part) UnmountDownTo(count int) {
	p.Helper()
	p.unmountDownTo(count)
	if p.top.Failed() {
		p.FailNow() // one stayed busy
	}
}

func (p *Part) unmountDownTo(count int) {
	for len(p.mounts) > count {
		last := len(p.mounts) - 1
		unmount := p.mounts[last]
		p.mounts = p.mounts[:last]
		unmount()
	}
}
