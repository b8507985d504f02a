// Scribble writes random data to random chunks of a device: what the guest of
// TestDM does to its device-mapper snapshots.
//
//	scribble DEVICE CHUNK COUNT SEED
//
// Exactly COUNT different chunks of CHUNK bytes are written, once or more often,
// whole or in part, alone or in runs, in the order and with the bytes that SEED
// gives. The writes go around the page cache, so that the snapshot sees them as
// they come, with a flush now and then. The last line printed tells how many of
// them failed, as writes to a snapshot without room do.
package main
