// Command sbom writes what is in a program, as the program itself has it noted, as a
// CycloneDX document.
//
//	sbom VERSION FILE...    writes FILE.cdx.json for each
//
// The time in it is that which SOURCE_DATE_EPOCH says. The same program gives the same
// bytes.
package main
