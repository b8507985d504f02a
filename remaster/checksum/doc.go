// Package checksum reads, writes and keeps lists of checksums: MD5SUMS,
// sha256sum.txt, linuxfs.md5, airootfs.sha512, CHECKSUM and their like, in the
// forms that coreutils and BSD's tools write and take (md5sum(1), cksum(1)).
//
// Laws, each of which is a test:
//   - A list that is read and not changed has the same bytes: comments, empty
//     lines, line ends and what is no sum stay.
//   - A line that is given another sum has the same name and the same form.
//   - What [FormatLine] writes, [Parse] reads, and so does the tool.
//   - No line leads out of the medium that the list lies on.
//
// It knows the six digests that media carry (md5, sha1, sha224, sha256, sha384,
// sha512). Lists of others, such as b2sum's, are recognised by name, so that who
// changes what they list can tell of them; see [Foreign].
package checksum
