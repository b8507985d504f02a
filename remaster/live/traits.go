package live

// Traits are what the boot of a layout does, as far as anybody but the layout
// asks. What a layout has is asked by these names, never by its type.
type Traits struct {
	// Key is the layout's name for menus, look-ups and other programs; Name is
	// for people.
	Key string
	// VersionIDs: a boot tells by version ids whether an overlay fits its base, and
	// leaves out one that does not.
	VersionIDs bool
	// Stamped are paths of a system that tell of its base and that no other holds.
	Stamped []string
	// Sets says what persistence sets are, and OtherSets, where there are none that
	// can be told apart, how a boot finds another one. NoEntries says how a boot
	// entry for a set is made by hand.
	Sets                 SetKind
	OtherSets, NoEntries string
	// Stages: a boot takes up files of the name NAME.new by itself.
	Stages bool
	// BootRollback: a boot has an option that goes back to the former state.
	BootRollback bool
	// EitherForm: a base may hold the system's files or an image of them, whatever
	// the former one did.
	EitherForm bool
	// FlatOverlay names the overlay over a base of files, where that is another one
	// than over a base that holds an image of them.
	FlatOverlay string
	// StackStays: of a base that is several images only the topmost is made anew.
	StackStays bool
	// CopiesPlain: a boot may copy the overlay without attributes.
	CopiesPlain bool
	// SavesByHand: what is written stays in RAM until it is saved.
	SavesByHand bool
	// KernelSums: a boot checks kernel and initrd by sums beside them.
	KernelSums bool
	// LiveUIDs are the numbers one of which a boot gives to the user that it makes,
	// none where it makes none. LiveUserFiles are of the system, without any of which
	// it makes none either; nil where it needs none.
	LiveUIDs      []uint32
	LiveUserFiles []string
	// Identity is how the names of files begin, from the root of the medium, by one
	// of which an initrd may know it; "" where there are none. See IdentityConf.
	Identity string
	// RootLabel and HomeLabel are the labels of the images of persistence, "" where
	// a boot does not look at them.
	RootLabel, HomeLabel string
	// BootsEROFS: a boot mounts a base of EROFS as well as one of SquashFS.
	BootsEROFS bool
	// FormatInName: a boot tells the format of the base by the name of its file.
	FormatInName bool
	// HomeInside: a boot mounts the directory home of the image of homes where
	// there is one, and not its root.
	HomeInside bool
}

// SetKind says what the persistence sets of a layout are.
type SetKind int

// The kinds.
const (
	NoSets         SetKind = iota // there is one state only, as far as relive knows
	SetDirectories                // each is a directory with files of its own
	SetOverlays                   // each is an overlay in the live directory
)
