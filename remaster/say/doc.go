// Package say has the names of relive's verbs and options for texts that people
// read: hints, warnings, what a summary tells. relive's packages do not know what
// a front end calls them: it may be a flag, a button, a line of a form. So a text
// holds references, which a front end replaces by names of its own (In) wherever
// it shows one. What takes part in a verb, such as a file, stands behind it:
//
//	say.Verify + " " + path + " tells more"
//
// A reference is a name between two NULs, which stand in no path and in no text of
// a system, so that nothing that a message quotes is taken for one.
package say
