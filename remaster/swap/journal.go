package swap

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"relive/tree"
)

// The names that the package itself uses in a live directory.
const (
	journalName = ".relive.journal"
	journalTemp = ".relive.journal.tmp"
	tempSuffix  = ".relive-tmp"  // new files while they grow
	goneSuffix  = ".relive-gone" // moved aside, to be removed last
	keptSuffix  = ".relive-kept" // was to be discarded, but somebody changed it
)

// The journal is a text file: the line "relive-journal 1", a JSON object, and
// a line "sha256 HEX" over all bytes before that line. One that names volumes is
// of version 2, so that a relive that does not know of them leaves it alone.
const (
	journalMagic   = "relive-journal"
	journalVersion = 2
	journalLimit   = 4 << 20
	maxActions     = 256
	maxNames       = 1024
)

// Info says whose run a journal belongs to.
type Info struct {
	Verb    string    `json:"verb"`           // "compact"
	Started time.Time `json:"started"`        //
	Tool    string    `json:"tool"`           // "relive 1.0"
	Note    string    `json:"note,omitempty"` // anything a person should read
	// ID ties together what a run leaves on several file systems: 32 hexadecimal
	// digits that no other run has. Begin makes one up where it is empty.
	ID string `json:"-"`
}

// Stage is how far a run came.
type Stage string

// The stages. Starting is a run that ended while it wrote its first journal.
const (
	Starting  Stage = "starting"
	Building  Stage = "building"
	Committed Stage = "committed"
)

// journal is the content of the journal file. Paths are relative to its
// directory.
type journal struct {
	Info  Info     `json:"info"`
	Stage Stage    `json:"stage"`
	Temps []string `json:"temps,omitempty"` // removed by undo and at the end
	// Volumes are there where names lead elsewhere, and with them an ID that no
	// other run has.
	Volumes []volume `json:"volumes,omitempty"`
	ID      string   `json:"id,omitempty"`
	// The rest is there only in stage Committed.
	Gone    []string               `json:"gone,omitempty"` // removed at the end
	Start   map[string]Fingerprint `json:"start,omitempty"`
	Actions []action               `json:"actions,omitempty"`
}

// verb is what an action does.
type verb string

const (
	// doMove renames From to To, which is free.
	doMove verb = "move"
	// doReplace gives From the name To; what was there becomes Keep, or is
	// discarded where Keep is empty.
	doReplace verb = "replace"
)

// action is a step in the form that is executed and recovered: one or two names
// change hands, and whether it happened can be read off the directory.
type action struct {
	Verb verb   `json:"verb"`
	From string `json:"from"`
	To   string `json:"to"`
	Keep string `json:"keep,omitempty"`
	// Drop marks a Keep that the plan wants discarded at the end.
	Drop bool `json:"drop,omitempty"`
	// Step is the caller's step, for messages.
	Step string `json:"step"`
}

// names lists the names that the action touches.
func (a action) names() []string {
	if a.Keep == "" {
		return []string{a.From, a.To}
	}
	return []string{a.From, a.To, a.Keep}
}

func (j *journal) encode() ([]byte, error) {
	version := 1
	if len(j.Volumes) > 0 {
		version = 2
	}
	return encode(journalMagic, version, j)
}

// encode returns the text of a journal or a record: a first line, the content, and
// the checksum.
func encode(magic string, version int, content any) ([]byte, error) {
	body, err := json.MarshalIndent(content, "", " ")
	if err != nil {
		return nil, err
	}
	b := sealed(fmt.Appendf(nil, "%s %d\n%s\n", magic, version, body))
	if len(b) > journalLimit {
		return nil, fmt.Errorf("%w: the journal would have %d bytes, more than %d", ErrPlan, len(b), journalLimit)
	}
	return b, nil
}

// sealed is the text with its checksum line.
func sealed(text []byte) []byte {
	sum := sha256.Sum256(text)
	return fmt.Appendf(text[:len(text):len(text)], "sha256 %s\n", hex.EncodeToString(sum[:]))
}

// decodeJournal reads the content of a journal file. name is the file's, for
// errors.
func decodeJournal(name string, b []byte) (*journal, error) {
	j := new(journal)
	version, err := decode(name, b, journalMagic, journalVersion, j)
	if err != nil {
		return nil, err
	}
	if err = j.check(); err == nil && (version == 2) != (len(j.Volumes) > 0) {
		err = fmt.Errorf("%d volumes in a journal of version %d", len(j.Volumes), version)
	}
	if err != nil {
		return nil, tree.Corrupt(name, "content", "%v", err)
	}
	return j, nil
}

// decode undoes encode, for versions up to newest.
func decode(name string, b []byte, magic string, newest int, content any) (version int, err error) {
	if n, err := fmt.Sscanf(string(b[:min(len(b), 64)]), magic+" %d\n", &version); n != 1 || err != nil {
		return 0, tree.Corrupt(name, "first line", "is not that of a journal")
	}
	if version < 1 || version > newest {
		return 0, tree.Unsupported(name, "first line", "version %d of the journal; this relive knows %d", version, newest)
	}
	tail := bytes.LastIndex(b, []byte("\nsha256 ")) + 1
	if tail == 0 {
		return 0, tree.Corrupt(name, "last line", "the checksum is missing")
	}
	sum := sha256.Sum256(b[:tail])
	if string(b[tail:]) != "sha256 "+hex.EncodeToString(sum[:])+"\n" {
		return 0, tree.Corrupt(name, "last line", "the checksum does not fit the content")
	}
	first := bytes.IndexByte(b, '\n') + 1
	dec := json.NewDecoder(bytes.NewReader(b[first:tail]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(content); err != nil {
		return 0, tree.Corrupt(name, "content", "%v", err)
	}
	return version, nil
}

// newID makes up an id for a run.
func newID() (string, error) {
	var b [16]byte
	_, err := rand.Read(b[:])
	return hex.EncodeToString(b[:]), err
}

func validID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16
}

// check holds a journal from disk to what this package writes: above all, no
// path may lead out of the directory and the volumes, and nothing is removed but
// what has a name that only relive gives. That a volume is one of the run its
// record says; see attach.
func (j *journal) check() error {
	switch {
	case j.Stage != Building && j.Stage != Committed:
		return fmt.Errorf("stage %q", j.Stage)
	case len(j.Actions) > maxActions:
		return fmt.Errorf("%d actions, more than %d", len(j.Actions), maxActions)
	case len(j.Start)+len(j.Temps)+len(j.Gone) > maxNames:
		return fmt.Errorf("more than %d names", maxNames)
	}
	g := ground{volumes: j.Volumes}
	if err := g.checkVolumes(); err != nil {
		return err
	}
	if len(j.Volumes) > 0 != validID(j.ID) || len(j.Volumes) == 0 && j.ID != "" {
		return fmt.Errorf("id %q", j.ID)
	}
	used := map[string]bool{}
	for i, a := range j.Actions {
		names := a.names()
		switch {
		case a.Verb != doMove && a.Verb != doReplace:
			return fmt.Errorf("action %d: verb %q", i, a.Verb)
		case a.Verb == doMove && (a.Keep != "" || a.Drop), a.Drop && a.Keep == "":
			return fmt.Errorf("action %d: a keep that has no place here", i)
		}
		for k, p := range names {
			if err := checkPath(p); err != nil {
				return fmt.Errorf("action %d: %w", i, err)
			}
			if slices.Contains(names[:k], p) {
				return fmt.Errorf("action %d: %q twice", i, p)
			}
			used[p] = true
		}
		if a, b, is := g.apart(names...); is {
			return fmt.Errorf("action %d: %q and %q lie apart", i, a, b)
		}
	}
	for _, p := range j.Temps {
		if err := checkOwn(p, tempSuffix); err != nil {
			return err
		}
		if used[p] {
			return fmt.Errorf("%q is both used and to be removed", p)
		}
	}
	for _, p := range j.Gone {
		if err := checkOwn(p, goneSuffix); err != nil {
			return err
		}
	}
	for p := range j.Start {
		if err := checkPath(p); err != nil {
			return err
		}
		if !used[p] {
			return fmt.Errorf("%q is in no action", p)
		}
	}
	all := slices.Concat(slices.Collect(maps.Keys(used)), j.Temps, j.Gone)
	for _, p := range all {
		if err := g.checkOnVolumes(p); err != nil {
			return err
		}
	}
	if err := checkNesting(all); err != nil {
		return err
	}
	_, err := j.states()
	return err
}

// checkNesting refuses a file and its own directory in one plan: moving the one
// would move the other.
func checkNesting(names []string) error {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	for _, n := range names {
		for d := path.Dir(n); d != "."; d = path.Dir(d) {
			if set[d] {
				return fmt.Errorf("%q lies within %q", n, d)
			}
		}
	}
	return nil
}

// checkPath tells why a path cannot name a file of the live directory.
func checkPath(p string) error {
	switch {
	case p == "" || p == "." || strings.HasPrefix(p, "/") || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("%q is not a plain path within the directory", p)
	case strings.Contains(p, "\x00") || !utf8.ValidString(p):
		return fmt.Errorf("%q holds bytes that the journal cannot", p)
	case slices.Contains([]string{journalName, journalTemp, partName, partTemp}, path.Base(p)):
		return fmt.Errorf("%q is the journal's own name", p)
	}
	return nil
}

// checkOwn is checkPath for a name that the package makes up itself; nothing
// else is ever removed unseen.
func checkOwn(p, suffix string) error {
	if err := checkPath(p); err != nil {
		return err
	}
	if !strings.Contains(path.Base(p), suffix) {
		return fmt.Errorf("%q is not a name that relive gives", p)
	}
	return nil
}

// write makes the journal the current one, whole and durable when it returns
// nil. When it does not, the name shows the former journal or this one.
func (j *journal) write(fsys FS, dir string) error {
	b, err := j.encode()
	if err != nil {
		return err
	}
	return writeWhole(fsys, dir, journalTemp, journalName, b)
}

// writeWhole returns a small file its content by way of another name, durably.
func writeWhole(fsys FS, dir, tmp, name string, b []byte) error {
	if err := fsys.WriteFile(dir+"/"+tmp, b); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := fsys.Rename(dir+"/"+tmp, dir+"/"+name); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	return nil
}

// readJournal reads the directory's journal; nil where there is none.
func readJournal(fsys FS, dir string) (*journal, error) {
	name := dir + "/" + journalName
	b, err := readWhole(fsys, name)
	if b == nil || err != nil {
		return nil, err
	}
	return decodeJournal(name, b)
}

// readWhole reads a small file; nil where there is none.
func readWhole(fsys FS, name string) ([]byte, error) {
	info, err := fsys.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Kind != Regular || info.Size > journalLimit {
		return nil, tree.Corrupt(name, "", "a %s of %d bytes is no journal", info.Kind, info.Size)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, journalLimit))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}
