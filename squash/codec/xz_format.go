package codec

// Filter IDs of the .xz format 1.2.1, section 5.3.
const (
	bcjX86      = 0x04
	bcjPowerPC  = 0x05
	bcjIA64     = 0x06
	bcjARM      = 0x07
	bcjARMThumb = 0x08
	bcjSPARC    = 0x09
	bcjARM64    = 0x0a
	bcjRISCV    = 0x0b
)

// bcjIDs are the branch filters in the order of the bits of Filters.
var bcjIDs = [...]uint64{bcjX86, bcjPowerPC, bcjIA64, bcjARM, bcjARMThumb, bcjSPARC, bcjARM64, bcjRISCV}
