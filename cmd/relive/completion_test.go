package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"relive/tree/systest"
)

// askers have a shell complete a command line, of which the words are given: each
// reads the script from where make install would put it.
var askers = map[string]string{
	"fish": `source share/fish/vendor_completions.d/relive.fish
complete -C (string join " " -- $argv)
`,
	"bash": `compopt() { :; }
source /usr/share/bash-completion/bash_completion
source share/bash-completion/completions/relive
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=63 COMP_KEY=9
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
__start_relive
printf '%s\n' "${COMPREPLY[@]}"
`,
	// The widget's own functions need a line editor; what is described is printed.
	"zsh": `compdef() { :; }
_arguments() { :; }
_describe() { print -rl -- "${completions[@]}"; }
source share/zsh/site-functions/_relive
words=("$@") CURRENT=$#
_relive
`,
}

// TestCompletion: the scripts for bash, zsh and fish complete verbs, flags, values of
// flags, and what the files that were named hold.
func TestCompletion(t *testing.T) {
	systest.NeedTools(t, "bash", "zsh", "fish", "sfdisk", "mke2fs")
	if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil {
		systest.Lacks(t, "bash-completion")
	}
	dir := systest.TempDir(t)
	t.Chdir(dir)
	t.Setenv("PATH", filepath.Dir(program)+":"+os.Getenv("PATH"))
	t.Setenv("HOME", dir)
	t.Setenv("TERM", "dumb")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	systest.Run(t, "sh", "-c", "relive generate share")
	systest.Must(t, os.MkdirAll("live/work", 0o755))
	for _, name := range []string{"live/linuxfs", "live/rootfs", "live/work/rootfs"} {
		systest.Must(t, os.WriteFile(name, make([]byte, 4096), 0o600))
	}
	// A stick that is not mounted, with a live system in its one partition.
	systest.Must(t, os.MkdirAll("files/antiX", 0o755))
	for _, name := range []string{"linuxfs", "rootfs"} {
		systest.CopyFile(t, "live/"+name, "files/antiX/"+name)
	}
	systest.Must(t, os.WriteFile("stick.img", nil, 0o600))
	systest.Must(t, os.Truncate("stick.img", 16<<20))
	systest.Run(t, "sh", "-c", "echo type=83 | sfdisk -q -X dos stick.img")
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-E", "offset=1048576", "-d", "files", "stick.img", "12M")
	for shell, text := range askers {
		systest.Must(t, os.WriteFile("ask."+shell, []byte(text), 0o600))
	}
	for _, c := range []struct {
		words     []string
		want, not string
	}{
		{[]string{"comp"}, `(?m)^compact\b`, "rollback"},
		{[]string{"compact", "--full"}, `(?m)^--full-verify\b`, "--force"},
		{[]string{"compact", "--comp", ""}, `(?m)^zstd\b`, "share"},
		{[]string{"snapshot", "--accounts", "s"}, `(?m)^secure\b`, "share"},
		{[]string{"reset", "--preset", "net"}, `(?m)^network\b`, "share"},
		{[]string{"compact", "live", "--set", ""}, `(?m)^work\b`, "share"},
		{[]string{"status", "stick.img", "--on", ""}, `(?m)^1/antiX\b`, "share"},
		{[]string{"help", "sa"}, `(?m)^safety\b`, "share"},
		{[]string{"iso", "re"}, `(?m)^rebuild\b`, "share"},
	} {
		for shell := range askers {
			args := []string{"ask." + shell, "relive"}
			switch shell {
			case "bash":
				args = append([]string{"--norc"}, args...)
			case "zsh":
				args = append([]string{"-f"}, args...)
			case "fish":
				args = append([]string{"--no-config"}, args...)
			}
			got := systest.Run(t, shell, append(args, c.words...)...)
			if !regexp.MustCompile(c.want).MatchString(got) || regexp.MustCompile(c.not).MatchString(got) {
				t.Errorf("%s: relive %q: %q", shell, c.words, got)
			}
		}
	}
}
