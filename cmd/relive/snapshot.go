package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/accounts"
	"relive/remaster/baseimage"
	"relive/remaster/bytesize"
	"relive/remaster/snapshot"
)

// snapshotFlags are the flags of snapshot.
type snapshotFlags struct {
	o                          snapshot.Options
	pack                       packFlags
	accounts                   string
	user, fullName, groups     string
	passwordFile, rootPassword string
	rules                      []string
	include                    []string
	sums                       string
	boot                       string
	dryRun                     bool
}

func (a *app) snapshotCommand() *cobra.Command {
	var f snapshotFlags
	var on string
	c := &cobra.Command{
		Use:   "snapshot DIR",
		Short: "make a bootable ISO of a live system, with or without its accounts",
		Long: `Makes an ISO that boots from CD and USB, with what base and overlay show
together. What did not change is copied as it is stored, straight into the ISO,
so that the time it takes depends on the changes. The live directory is only
read.

With --accounts preserve, which is the default, the ISO is for your own use:
accounts and homes come along, those of homefs or home.img too. With reset the people's
accounts and homes are taken out and a user demo is made, whose password is demo
(--user and --password-file make another). With secure, what identifies the
machine or grants access to whoever has it is taken out as well. A report beside
the ISO tells of each file: read it before you give the ISO away.

What boots comes from the live directory's own medium, from the ISO named with
--template, or from packages (--boot system or host). Arguments about
persistence are taken out of the boot menus.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.options(); err != nil {
				return err
			}
			e, l, err := a.open(c.Context(), args[0], on, maySettle.or(lookOnly, f.dryRun))
			if err != nil {
				return err
			}
			defer l.Close()
			plan, err := snapshot.New(c.Context(), e, l, f.o)
			if err != nil {
				return err
			}
			defer plan.Close()
			if f.dryRun {
				return a.showISOPlan(plan)
			}
			res, err := plan.Run(c.Context())
			if err != nil {
				return err
			}
			return a.showISO(res)
		},
	}
	fl := c.Flags()
	onFlag(c, &on)
	a.setFlag(c)
	a.placeFlags(c)
	fl.StringVarP(&f.o.Output, "output", "o", "", "the ISO, or a directory for it (default a name with the time, here)")
	fl.StringVar(&f.o.BaseName, "name", "", "prefix of the generated name (default the system's id)")
	fl.StringVar(&f.accounts, "accounts", "preserve", "preserve, reset or secure")
	fl.StringVar(&f.user, "user", "", "the user to make instead of demo; none for no user (reset and secure)")
	fl.StringVar(&f.passwordFile, "password-file", "", "a file whose first line is that user's password; - reads standard input")
	fl.StringVar(&f.fullName, "full-name", "", "that user's name in full")
	fl.StringVar(&f.groups, "groups", "", "that user's groups, with commas (default those that a live system's user is in)")
	fl.StringVar(&f.rootPassword, "root-password", "lock", "lock, keep or file:NAME, a file whose first line it is (reset and secure)")
	fl.StringVar(&f.o.Accounts.Hostname, "hostname", "", "the new name of the host (reset and secure)")
	fl.StringArrayVar(&f.rules, "rules", nil, "a file of rules to merge over those that come with relive; may be given more than once")
	fl.BoolVar(&f.o.NoHomes, "no-homes", false, "leave out the homes that a boot mounts over the system")
	f.pack.add(c)
	allowFlag(c, &f.o.AllowUnmatched)
	fl.BoolVar(&f.o.NoDefaultExcludes, "no-default-excludes", false, "leave out nothing but what -e names")
	fl.StringVar(&f.boot, "boot", "",
		"where boot files come from: template, medium, system or host (default the first that has them, but for host)")
	fl.StringVar(&f.o.Template, "template", "", "an ISO whose boot files and set-up are taken")
	fl.StringVar(&f.o.Kernel, "kernel", "", "a kernel to take in place of the medium's")
	fl.StringVar(&f.o.Initrd, "initrd", "", "an initrd to take in place of the medium's")
	fl.StringArrayVar(&f.include, "include", nil,
		"PATH=FILE: a further file or directory, and its path on the ISO; may be given more than once")
	fl.StringArrayVar(&f.o.AddArgs, "add-arg", nil, "a kernel argument to add in the boot menus; may be given more than once")
	fl.StringArrayVar(&f.o.RemoveArgs, "remove-arg", nil,
		"a kernel argument to take out, NAME or NAME=VALUE, with * as in file names; may be given more than once")
	fl.BoolVar(&f.o.KeepPersistence, "keep-persistence", false, "leave arguments about persistence in the boot menus")
	fl.StringVar(&f.o.Title, "title", "", "title of the boot menus")
	fl.StringVar(&f.o.VolumeID, "volid", "", "label of the ISO (default that of the medium or template)")
	fl.StringVar(&f.o.Publisher, "publisher", "", "publisher, for the volume descriptor")
	fl.StringVar(&f.o.Preparer, "preparer", "", "preparer, for the volume descriptor")
	fl.StringVar(&f.o.Application, "application", "", "application, for the volume descriptor")
	fl.StringVar(&f.sums, "sums", "sha256", "sums to write beside the ISO: md5, sha256, sha512, with commas, or none")
	fl.BoolVar(&f.o.ImplantMD5, "implant-md5", false, "put the sum into the ISO that checkisomd5 and relive iso check verify")
	fl.BoolVar(&f.o.NoPackages, "no-package-list", false, "write no list of packages beside the ISO")
	fl.BoolVar(&f.o.NoReport, "no-report", false, "write no report beside the ISO")
	fl.BoolVar(&f.o.Force, "force", false, "replace the file given with -o; continue even if version ids do not match")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	return c
}

// options checks the flags.
func (f *snapshotFlags) options() error {
	var err error
	if f.o.Wish, err = f.pack.wish(); err != nil {
		return err
	}
	if f.o.Excludes, err = f.pack.excludeRules(); err != nil {
		return err
	}
	f.o.Flatten, f.o.KeepFree, f.o.FullVerify = f.pack.flatten, f.pack.keepFree, f.pack.full
	f.o.Boot = snapshot.BootSource(f.boot)
	if f.o.Sums, err = parseSums(f.sums); err != nil {
		return err
	}
	f.o.Include = map[string]string{}
	for _, s := range f.include {
		at, file, ok := strings.Cut(s, "=")
		if !ok || strings.Trim(at, "/") == "" || file == "" {
			return usageError{errFlag("--include", s, "PATH=FILE")}
		}
		f.o.Include[at] = file
	}
	return f.accountOptions()
}

func (f *snapshotFlags) accountOptions() error {
	o := &f.o.Accounts
	var err error
	if o.Mode, err = accounts.ParseMode(f.accounts); err != nil {
		return usageError{err}
	}
	if o.Mode == accounts.Preserve {
		if f.user != "" || f.passwordFile != "" || f.fullName != "" || f.groups != "" || f.rootPassword != "lock" || o.Hostname != "" ||
			len(f.rules) > 0 {
			return usageError{errors.New("--user, --password-file, --full-name, --groups, --root-password, --hostname and --rules need " +
				"--accounts reset or secure: preserve changes no account")}
		}
		return nil
	}
	if f.passwordFile == "-" && f.rootPassword == "file:-" {
		return usageError{errors.New("--password-file - and --root-password file:-: the input holds one of them")}
	}
	if o.User, err = f.newUser(); err != nil {
		return err
	}
	o.NoUser = f.user == "none"
	if o.Root, err = parseRootPassword(f.rootPassword); err != nil {
		return err
	}
	for _, name := range f.rules {
		text, err := os.ReadFile(name)
		if err != nil {
			return usageError{fmt.Errorf("--rules: %w", err)}
		}
		r, err := accounts.ParseRules(name, text)
		if err != nil {
			return usageError{err}
		}
		o.Rules = append(o.Rules, r)
	}
	return nil
}

// newUser is the user that is asked for, nil for none and for the one that is made
// where none is named.
func (f *snapshotFlags) newUser() (*accounts.User, error) {
	if f.user == "none" {
		if f.passwordFile != "" || f.fullName != "" || f.groups != "" {
			return nil, usageError{errors.New("--password-file, --full-name and --groups: with --user none there is no user")}
		}
		return nil, nil
	}
	if f.user == "" && f.passwordFile == "" && f.fullName == "" && f.groups == "" {
		return nil, nil
	}
	u := accounts.Demo()
	if f.user != "" {
		// Without a password nobody could log in, which is rarely meant.
		if f.passwordFile == "" {
			return nil, usageError{fmt.Errorf("--user %s: give a password with --password-file", f.user)}
		}
		u = &accounts.User{Name: f.user}
	}
	if f.passwordFile != "" {
		p, err := readPassword("--password-file", f.passwordFile)
		if err != nil {
			return nil, err
		}
		u.Password = accounts.Plain(p)
	}
	if f.fullName != "" {
		u.FullName = f.fullName
	}
	if f.groups != "" {
		u.Groups = strings.Split(f.groups, ",")
	}
	return u, nil
}

func parseRootPassword(s string) (accounts.Password, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch kind {
	case "lock":
		return accounts.Locked(), nil
	case "keep":
		return accounts.Kept(), nil
	case "file":
		if value != "" {
			p, err := readPassword("--root-password", value)
			return accounts.Plain(p), err
		}
	}
	return accounts.Locked(), usageError{errFlag("--root-password", s, "lock, keep or file:NAME")}
}

// passwordMax bounds a password, in bytes.
const passwordMax = 512

// readPassword reads a password, which is the first line of the file that a flag
// names.
func readPassword(flag, name string) (string, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", usageError{fmt.Errorf("%s: %w", flag, err)}
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, passwordMax+2))
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(line) > passwordMax {
		return "", usageError{fmt.Errorf("%s %s: the first line is no password: it has %d bytes, and 1 to %d are wanted", flag, name,
			len(line), passwordMax)}
	}
	return line, nil
}

// parseSums reads a list of kinds of sums.
func parseSums(s string) ([]string, error) {
	if s == "none" || s == "" {
		return nil, nil
	}
	var out []string
	for kind := range strings.SplitSeq(s, ",") {
		if !slices.Contains([]string{"md5", "sha256", "sha512"}, kind) {
			return nil, usageError{errFlag("--sums", s, "md5, sha256, sha512 or none")}
		}
		if !slices.Contains(out, kind) {
			out = append(out, kind)
		}
	}
	return out, nil
}

func (a *app) showISOPlan(p *snapshot.Plan) error {
	s := &p.Summary
	if a.json {
		return a.printJSON(struct {
			*snapshot.Summary
			Report *snapshot.Report `json:"report"`
		}{s, p.Report()})
	}
	a.printISOSystem(s)
	a.printf("boot files from %s: %s\n", s.Boot, strings.Join(s.Firmware, ", "))
	a.printf("  kernel %s%s, initrd %s\n", s.Kernel, inBrackets(s.Version), s.Initrd)
	for _, m := range slices.Concat(s.Initrds, s.Menus) {
		a.printf("  %s\n", m)
	}
	if len(s.Left) > 0 {
		a.printf("left on the medium: %s\n", strings.Join(s.Left, " "))
	}
	a.printf("to be made: %s, label %s, about %s; %s needed, %s free\n", s.Output, s.VolumeID, bytesize.Format(s.Size),
		bytesize.Format(s.Need), bytesize.Format(s.Free))
	for _, b := range s.Beside {
		a.printf("  and %s\n", b)
	}
	a.printf("\n")
	text, err := p.Report().Text()
	if err != nil {
		return err
	}
	a.printf("%s", text)
	return a.showWarnings(s.Warnings, nil)
}

func (a *app) printISOSystem(s *snapshot.Summary) {
	sys := &s.System
	switch sys.Form {
	case baseimage.Nested:
		a.printf("system: %s, with a file system image inside\n", packing(&sys.Summary))
	default:
		a.printf("system: %s, %d inodes, %s of content\n", packing(&sys.Summary), sys.Inodes, bytesize.Format(sys.Bytes))
	}
	a.printf("  compressed by %s\n", sys.Library)
	a.printf("  copied as stored: %s; to compress: %s; left out: %d files and directories\n", bytesize.Format(sys.Copy),
		bytesize.Format(sys.Compress), sys.Excluded)
	a.printf("accounts: %s", s.Accounts)
	if s.Accounts != "preserve" {
		a.printf("; people taken out: %d; user: %s; paths dropped: %d, changes: %d, made: %d, kept by doubt: %d", s.People,
			orNoUser(s.User), s.Dropped, s.Changed, s.Made, s.Doubtful)
	}
	a.printf("\n")
	if len(s.Homes) > 0 {
		a.printf("  with what a boot mounts at %s\n", strings.Join(s.Homes, ", "))
	}
}

func orNoUser(name string) string {
	if name == "" {
		return "none"
	}
	return name
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func (a *app) showISO(r *snapshot.Result) error {
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		if len(r.Warnings) > 0 {
			return errWarned
		}
		return nil
	}
	s := &r.Plan
	a.printISOSystem(s)
	a.printf("boot files from %s: %s\n", s.Boot, strings.Join(s.Firmware, ", "))
	a.printf("%s: %s, label %s, in %.1f s\n", r.Path, bytesize.Format(r.Size), s.VolumeID, r.Seconds)
	for _, b := range r.Beside {
		a.printf("%s\n", b)
	}
	if s.Doubtful > 0 {
		a.printf("%d paths were kept by doubt: see the report\n", s.Doubtful)
	}
	return a.showWarnings(r.Warnings, errWarned)
}
