// Package manual turns the documents of this project, which are Markdown, into
// pages of the manual, in mdoc(7), and into text for a terminal. It knows what
// they use: headings, paragraphs, lists, examples, tables, code, stress and links.
package manual
