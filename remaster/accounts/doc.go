// Package accounts takes what belongs to its former owner out of a system's
// tree, so that the system can be given away: people's accounts and homes
// (Reset), and what identifies the machine or opens something to who has it
// (Secure). Preserve keeps every byte.
//
// The account files (passwd, shadow, group, gshadow, subuid, subgid, and their
// backups with a '-' behind the name) are edited by code; everything else is
// rules, which are data: the defaults of DefaultFiles, and a user's merged over
// them. docs/accounts.md describes their format.
//
// Laws:
//   - Preserve gives the very tree that it was given.
//   - Lines that an edit is not about keep every byte: comments, NIS lines,
//     their order, CR LF, a last line without a line feed.
//   - In the account files of the new tree nobody who was taken out has an entry
//     or is a member, and no hash of a password is left but those asked for.
//   - What differs between the trees is in the report, and what is in the report
//     as dropped, changed or made differs.
//   - Doing it twice gives what doing it once gives, if the salts are the same.
//   - Nothing is read that no rule and no account file is about. The metadata of
//     the whole tree is walked only where a dropped or edited file has other
//     names (hard links).
//
// Sources: passwd(5), shadow(5), group(5), gshadow(5), subuid(5), login.defs(5)
// of shadow-utils 4.13 and its commonio.c (where new lines go); glibc 2.36
// nss/nss_files and nss_compat (what is an entry); crypt(5) of libxcrypt 4.4;
// os-release(5), machine-id(5) of systemd; mx-remaster's live-remaster and
// mx-snapshot (what a person is, and what a general remaster resets).
//
// Left out: owners of files outside of homes, which keep the uids of people who
// are gone (the new user takes the first of them over); live-remaster's emptying
// of etc/modprobe.d and etc/grub.d, in which packages have files; secrets inside
// of databases and binary files, which are reported by name at best.
package accounts
