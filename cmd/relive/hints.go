package main

import (
	"bytes"
	"strings"

	"relive/remaster/refusal"
	"relive/remaster/say"
)

// terms are what verbs and options are called here, for the texts of relive's
// packages, which know of no command line.
var terms = map[string]string{
	say.Accounts:       "--accounts",
	say.Add:            "--add",
	say.AddArg:         "--add-arg",
	say.AllowUnmatched: "--allow-unmatched",
	say.Application:    "--application",
	say.Base:           "--base",
	say.BlockSize:      "--block-size",
	say.Boot:           "--boot",
	say.ChunkSize:      "--chunk",
	say.Codec:          "--comp",
	say.Decisions:      "--decisions",
	say.DryRun:         "--dry-run",
	say.Exclude:        "-e",
	say.Flatten:        "--flatten",
	say.Force:          "--force",
	say.Format:         "--format",
	say.From:           "--from",
	say.Grow:           "--grow",
	say.Home:           "--home",
	say.Image:          "--image",
	say.ImplantMD5:     "--implant-md5",
	say.Include:        "--include",
	say.Initrd:         "--initrd",
	say.Keep:           "--keep",
	say.KeepChunk:      "--keep-chunk",
	say.KeepFree:       "--keep-free",
	say.KeepOld:        "--keep-old",
	say.Kernel:         "--kernel",
	say.Kind:           "--kind",
	say.Level:          "--level",
	say.ListPresets:    "--list-presets",
	say.Mirror:         "--mirror",
	say.Mode:           "--mode",
	say.NoDelete:       "--no-delete",
	say.NoHomes:        "--no-homes",
	say.NoKernel:       "--no-kernel",
	say.NoReset:        "--no-reset",
	say.On:             "--on",
	say.Onto:           "--onto",
	say.Output:         "-o",
	say.Overlay:        "--overlay",
	say.Plain:          "--plain",
	say.Prefer:         "--prefer",
	say.Preparer:       "--preparer",
	say.Publisher:      "--publisher",
	say.Remove:         "--remove",
	say.RemoveArg:      "--remove-arg",
	say.Replace:        "--replace",
	say.Reverse:        "--reverse",
	say.Set:            "--set",
	say.Size:           "--size",
	say.Stage:          "--stage",
	say.Sums:           "--sums",
	say.Template:       "--template",
	say.Undo:           "--undo",
	say.User:           "--user",
	say.Yes:            "--yes",

	say.Check:      "relive iso check",
	say.Clone:      "relive sets clone",
	say.Compact:    "relive compact",
	say.Diff:       "relive diff",
	say.Entry:      "relive sets entry",
	say.GrowCOW:    "relive dm grow",
	say.Info:       "relive iso info",
	say.List:       "relive ls",
	say.ListISO:    "relive iso ls",
	say.ListSets:   "relive sets",
	say.Rebase:     "relive rebase",
	say.RebaseSet:  "relive sets rebase",
	say.Recover:    "relive recover",
	say.RecoverCOW: "relive dm recover",
	say.RemoveSet:  "relive sets remove",
	say.RenameSet:  "relive sets rename",
	say.Reset:      "relive reset",
	say.ResetCOW:   "relive dm reset",
	say.Resize:     "relive resize",
	say.Rollback:   "relive rollback",
	say.Save:       "relive save",
	say.Status:     "relive status",
	say.StatusCOW:  "relive dm status",
	say.SyncHome:   "relive sync-home",
	say.Update:     "relive update",
	say.Verify:     "relive verify",
}

// hints are for errors that bring none of their own: what a code comes to here.
var hints = map[refusal.Code]string{
	refusal.WrongOption:      "relive --help and relive VERB --help tell the usage",
	refusal.WrongCompression: "relive compact --help tells of --format, --comp, --level and --block-size",
	refusal.Unreadable:       "repair it on a copy, or leave it out by name (-e PATH) where the verb takes that",
	refusal.Busy:             "wait until the other relive is done",
	refusal.NotPermitted:     "run relive as root",
}

// inWords returns a text of relive's packages as it is shown here.
func inWords(text string) string { return say.In(text, terms) }

// jsonInWords returns encoded JSON with the texts in it as they are shown here.
// There a NUL is an escape, and a backslash before one would be another character.
func jsonInWords(text []byte) []byte {
	const null = `\u0000`
	if !bytes.Contains(text, []byte(null)) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case bytes.HasPrefix(text[i:], []byte(null)):
			b.WriteByte(0)
			i += len(null) - 1
		case text[i] == '\\':
			b.Write(text[i : i+2])
			i++
		default:
			b.WriteByte(text[i])
		}
	}
	return []byte(strings.ReplaceAll(inWords(b.String()), "\x00", null))
}
