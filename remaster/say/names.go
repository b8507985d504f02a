package say

// Options of verbs.
const (
	Accounts       = "\x00option accounts\x00"        // what becomes of user accounts on an ISO
	Add            = "\x00option add\x00"             // a file to be put where none is, on an ISO
	AddArg         = "\x00option add-arg\x00"         // an argument of the kernel to be added
	AllowUnmatched = "\x00option allow-unmatched\x00" // go on without what is named and not there
	Application    = "\x00option application\x00"     // a text of an ISO's volume descriptor
	Base           = "\x00option base\x00"            // the base that a layer was written over
	BlockSize      = "\x00option block-size\x00"      // the block size of a SquashFS
	Boot           = "\x00option boot\x00"            // where an ISO's boot files come from
	ChunkSize      = "\x00option chunk\x00"           // the chunk size of a COW whose header is lost
	Codec          = "\x00option comp\x00"            // what a SquashFS is compressed with
	Decisions      = "\x00option decisions\x00"       // a file with decisions of conflicts
	DryRun         = "\x00option dry-run\x00"         // show what would be done, and do nothing
	Exclude        = "\x00option exclude\x00"         // what is left out
	Flatten        = "\x00option flatten\x00"         // a base of files in place of one that holds an image
	Force          = "\x00option force\x00"           // do what is refused otherwise
	Format         = "\x00option format\x00"          // the format of a base's image
	From           = "\x00option from\x00"            // the set that another is made of
	Grow           = "\x00option grow\x00"            // let an image become larger
	Home           = "\x00option home\x00"            // where the image of homes is
	Image          = "\x00option image\x00"           // a file that the merged image is written to
	ImplantMD5     = "\x00option implant-md5\x00"     // the sum that is implanted in an ISO
	Include        = "\x00option include\x00"         // a file of the host that goes onto an ISO
	Initrd         = "\x00option initrd\x00"          // the initrd of an ISO
	Keep           = "\x00option keep\x00"            // what of an overlay is kept
	KeepChunk      = "\x00option keep-chunk\x00"      // leave the chunk size of a COW as it is
	KeepFree       = "\x00option keep-free\x00"       // leave in what no file uses
	KeepOld        = "\x00option keep-old\x00"        // how many former states are kept
	Kernel         = "\x00option kernel\x00"          // the kernel of an ISO
	Kind           = "\x00option kind\x00"            // the kind of a menu
	Level          = "\x00option level\x00"           // the level of compression
	ListPresets    = "\x00option list-presets\x00"    // show the presets
	Mirror         = "\x00option mirror\x00"          // remove what the source does not have
	Mode           = "\x00option mode\x00"            // the mode of persistence of a boot entry
	NoDelete       = "\x00option no-delete\x00"       // keep what only the destination has
	NoHomes        = "\x00option no-homes\x00"        // leave homes out
	NoKernel       = "\x00option no-kernel\x00"       // leave kernels and initrds alone
	NoReset        = "\x00option no-reset\x00"        // let the overlay stay as it is
	On             = "\x00option on\x00"              // which live system of a stick
	Onto           = "\x00option onto\x00"            // the new base of a layer
	Output         = "\x00option output\x00"          // the file that is written
	Overlay        = "\x00option overlay\x00"         // where the overlay is, or what becomes of it
	Plain          = "\x00option plain\x00"           // do without extended attributes
	Prefer         = "\x00option prefer\x00"          // who wins where both sides changed the same
	Preparer       = "\x00option preparer\x00"        // a text of an ISO's volume descriptor
	Publisher      = "\x00option publisher\x00"       // a text of an ISO's volume descriptor
	Remove         = "\x00option remove\x00"          // a file to be taken off an ISO
	RemoveArg      = "\x00option remove-arg\x00"      // an argument of the kernel to be taken out
	Replace        = "\x00option replace\x00"         // a file to be replaced on an ISO
	Reverse        = "\x00option reverse\x00"         // the other direction
	Set            = "\x00option set\x00"             // which persistence set
	Size           = "\x00option size\x00"            // the size of what is made
	Stage          = "\x00option stage\x00"           // prepare files for the next boot to take up
	Sums           = "\x00option sums\x00"            // the files of sums beside an ISO
	Template       = "\x00option template\x00"        // an ISO that boot files are taken from
	Undo           = "\x00option undo\x00"            // take the last change back
	User           = "\x00option user\x00"            // whose home
	Yes            = "\x00option yes\x00"             // do it though something is lost
)

// Verbs.
const (
	Check      = "\x00verb iso-check\x00"   // check an ISO
	Clone      = "\x00verb sets-clone\x00"  // make a set of another one
	Compact    = "\x00verb compact\x00"     // fold the overlay into the base
	Diff       = "\x00verb diff\x00"        // list what an overlay changes
	Entry      = "\x00verb sets-entry\x00"  // make a boot entry for a set
	GrowCOW    = "\x00verb dm-grow\x00"     // make a COW larger
	Info       = "\x00verb iso-info\x00"    // show what makes an ISO boot
	List       = "\x00verb ls\x00"          // list files
	ListISO    = "\x00verb iso-ls\x00"      // list the files of an ISO
	ListSets   = "\x00verb sets\x00"        // list persistence sets
	Rebase     = "\x00verb rebase\x00"      // carry a layer over to another base
	RebaseSet  = "\x00verb sets-rebase\x00" // carry a set over to the present base
	Recover    = "\x00verb recover\x00"     // finish or undo an interrupted run
	RecoverCOW = "\x00verb dm-recover\x00"  // save what is whole of a damaged COW
	RemoveSet  = "\x00verb sets-remove\x00" // remove a set
	RenameSet  = "\x00verb sets-rename\x00" // give a set another name
	Reset      = "\x00verb reset\x00"       // empty the overlay
	ResetCOW   = "\x00verb dm-reset\x00"    // empty a COW where it is
	Resize     = "\x00verb resize\x00"      // make an image larger or smaller
	Rollback   = "\x00verb rollback\x00"    // restore the state before the last change
	Save       = "\x00verb save\x00"        // write what a running system keeps in RAM to its overlay
	Status     = "\x00verb status\x00"      // show what is there
	StatusCOW  = "\x00verb dm-status\x00"   // show the state of a COW
	SyncHome   = "\x00verb sync-home\x00"   // bring homes and the image of homes together
	Update     = "\x00verb update\x00"      // replace the base by a newer one
	Verify     = "\x00verb verify\x00"      // check that everything can be read
)
