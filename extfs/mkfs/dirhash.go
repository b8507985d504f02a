package mkfs

import "encoding/binary"

// dirHash is the hash of names in a directory's hash tree, half MD4: the first
// two numbers of a cut-down MD4 that starts from the seed. Source: Linux
// fs/ext4/hash.c and Documentation/filesystems/ext4, "Hash Tree Directories".
type dirHash struct {
	seed     [4]uint32
	unsigned bool // characters count as unsigned, s_flags bit 1
}

func newDirHash(seed [16]byte, unsigned bool) dirHash {
	h := dirHash{unsigned: unsigned}
	for i := range h.seed {
		h.seed[i] = binary.LittleEndian.Uint32(seed[i*4:])
	}
	if h.seed == [4]uint32{} {
		h.seed = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	}
	return h
}

// eofHash is the hash that the kernel keeps for the end of a directory
// (EXT4_HTREE_EOF_32BIT).
const eofHash = 0x7fffffff << 1

// sum returns the major hash, whose lowest bit is clear, and the minor one.
func (h dirHash) sum(name string) (major, minor uint32) {
	state := h.seed
	var in [8]uint32
	for len(name) > 0 {
		h.words(name, &in)
		halfMD4(&state, &in)
		if len(name) <= 32 {
			break
		}
		name = name[32:]
	}
	major = state[1] &^ 1
	if major == eofHash {
		major = (0x7fffffff - 1) << 1
	}
	return major, state[2]
}

// words packs up to 32 bytes into big-endian numbers; the rest is the length,
// repeated.
func (h dirHash) words(s string, in *[8]uint32) {
	pad := uint32(len(s)) | uint32(len(s))<<8
	pad |= pad << 16
	if len(s) > 32 {
		s = s[:32]
	}
	k := 0
	val := pad
	for i := 0; i < len(s); i++ {
		c := uint32(s[i])
		if !h.unsigned {
			c = uint32(int32(int8(s[i])))
		}
		val = c + val<<8
		if i%4 == 3 {
			in[k] = val
			k++
			val = pad
		}
	}
	if k < len(in) {
		in[k] = val
		k++
	}
	for ; k < len(in); k++ {
		in[k] = pad
	}
}

// halfMD4 is the transform: three rounds of eight steps.
func halfMD4(state *[4]uint32, in *[8]uint32) {
	const k2, k3 = 0x5a827999, 0x6ed9eba1
	a, b, c, d := state[0], state[1], state[2], state[3]
	rot := func(x uint32, s uint) uint32 { return x<<s | x>>(32-s) }

	for i := 0; i < 8; i += 4 {
		a = rot(a+(d^b&(c^d))+in[i], 3)
		d = rot(d+(c^a&(b^c))+in[i+1], 7)
		c = rot(c+(b^d&(a^b))+in[i+2], 11)
		b = rot(b+(a^c&(d^a))+in[i+3], 19)
	}
	for i := 1; i >= 0; i-- {
		a = rot(a+(b&c+(b^c)&d)+in[i]+k2, 3)
		d = rot(d+(a&b+(a^b)&c)+in[i+2]+k2, 5)
		c = rot(c+(d&a+(d^a)&b)+in[i+4]+k2, 9)
		b = rot(b+(c&d+(c^d)&a)+in[i+6]+k2, 13)
	}
	for i := 3; i >= 1; i -= 2 {
		a = rot(a+(b^c^d)+in[i]+k3, 3)
		d = rot(d+(a^b^c)+in[i+4]+k3, 9)
		c = rot(c+(d^a^b)+in[i-1]+k3, 11)
		b = rot(b+(c^d^a)+in[i+3]+k3, 15)
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
