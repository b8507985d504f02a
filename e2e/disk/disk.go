package disk

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"relive/e2e/part"
)

// firstMiB is how many MiB lie before the first partition.
const firstMiB = 1

// Partition is one of a disk to be made.
type Partition struct {
	MiB int
	// Fields are further ones of sfdisk, such as "bootable".
	Fields string
}

// Make makes a disk with one partition after the other, with a table that sfdisk calls
// dos or gpt.
func Make(p *part.Part, file, table string, partitions ...Partition) {
	p.Helper()
	start, script := firstMiB, ""
	for _, q := range partitions {
		script += fmt.Sprintf("start=%dMiB,size=%dMiB", start, q.MiB)
		if q.Fields != "" {
			script += "," + q.Fields
		}
		script += "\n"
		start += q.MiB
	}
	p.RemoveTree(file)
	// A GPT has a copy at the end.
	p.Blank(file, int64(start+1)<<20)
	p.Feed(script, "sfdisk", "--quiet", "--label", table, file)
}

// place is where a partition is, in bytes.
type place struct {
	number   int
	at, size int64
}

func places(p *part.Part, file string) (all []place) {
	p.Helper()
	var dump struct {
		PartitionTable struct {
			Partitions []struct {
				Node        string
				Start, Size int64
			}
		}
	}
	p.Must(json.Unmarshal([]byte(p.Do("sfdisk", "--json", file)), &dump))
	for _, q := range dump.PartitionTable.Partitions {
		// The name of the disk's file, and the number.
		name := strings.TrimRight(q.Node, "0123456789")
		n, err := strconv.Atoi(q.Node[len(name):])
		p.Must(err)
		all = append(all, place{n, q.Start * 512, q.Size * 512})
	}
	return all
}

func placeOf(p *part.Part, file string, number int) place {
	p.Helper()
	for _, q := range places(p, file) {
		if q.number == number {
			return q
		}
	}
	p.Fatalf("%s has no partition %d", file, number)
	return place{}
}

// Last returns the number of the partition that begins last.
func Last(p *part.Part, file string) int {
	p.Helper()
	var last place
	for _, q := range places(p, file) {
		if q.at > last.at {
			last = q
		}
	}
	return last.number
}

// Format makes ext4 in a partition, with further arguments of mkfs.ext4.
func Format(p *part.Part, file string, number int, args ...string) {
	p.Helper()
	q := placeOf(p, file, number)
	p.Do("mkfs.ext4", append(append([]string{"-q", "-F"}, args...), "-E", fmt.Sprintf("offset=%d", q.at), file,
		fmt.Sprintf("%dk", q.size/1024))...)
}

// Mount mounts a partition on the host.
func Mount(p *part.Part, file string, number int, at string) {
	p.Helper()
	q := placeOf(p, file, number)
	p.Mount("", fmt.Sprintf("loop,offset=%d,sizelimit=%d", q.at, q.size), file, at)
}

// Save makes a partition's content a file of its own.
func Save(p *part.Part, file string, number int, to string) {
	p.Helper()
	q := placeOf(p, file, number)
	p.Must(os.RemoveAll(to))
	p.Do("dd", "if="+file, "of="+to, "bs=1M", "iflag=skip_bytes,count_bytes", fmt.Sprintf("skip=%d", q.at),
		fmt.Sprintf("count=%d", q.size), "status=none")
}
