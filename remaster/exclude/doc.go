// Package exclude leaves parts of a tree out, by the exclude lists that
// mksquashfs reads with -wildcards.
//
// A rule is a path of patterns joined by '/', anchored at the root of the tree;
// "... " before it lets it begin in any directory. Each component is matched
// against one name. A match of the last component drops that file, or that
// directory with all below it.
//
// What a pattern means is taken from squashfs-tools' mksquashfs.c (add_path,
// excluded_match, process_exclude_file), which splits a rule at every '/' and
// hands the parts to fnmatch(3) with FNM_PATHNAME, FNM_PERIOD and FNM_EXTMATCH
// in the C locale, and so from glibc's fnmatch: * ? [...] with ranges, classes
// such as [:digit:] and ! or ^ for the complement, backslash escapes, and the
// forms ?(..) *(..) +(..) @(..) !(..) with alternatives between '|'. All is
// bytes. A leading dot is matched only by a dot in the pattern, never by * ? or
// a bracket; but !(x) does match names with a leading dot.
//
// Where glibc (2.36) strays from its own manual, the manual is followed: a '?'
// beside a star keeps a dot that is not leading from a bracket or group behind
// them; an optional group right behind a star is misread if it ends in another
// group; [.x.] right before a final '-' is lost.
//
// Beyond mksquashfs: a rule may begin with '/' or './', which mean nothing, and
// lines may end in CR LF. A sticky rule of several components follows
// squashfs-tools 4.6 and later (4.5 lets its first component alone match).
// Brace forms {a,b} belong to the shell; here they are ordinary bytes.
//
// Laws:
//   - A list of use Always holds nothing that tells a person, a machine or a
//     network from another, and no list leaves a system that cannot boot.
//   - Apply's tree lists exactly the paths for which neither they nor a
//     directory above them is excluded.
//   - What no rule can reach is the very node of the source.
//   - The time to match a name is bounded by a polynomial of the pattern's and
//     the name's length, whatever the pattern.
//
// The lists in lists/ come with the program: [Lists], [Default] and [ListsFor].
//
// Left out: -regex, and the form of mksquashfs without -wildcards but for plain
// paths, which [Plain] makes.
package exclude
