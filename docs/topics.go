// Package docs has the documents of this directory that are pages of the manual as
// well, so that both say the same.
package docs

import (
	"embed"
)

//go:embed safety.md places.md excludes.md
var files embed.FS

// Topic is a page of the manual about what several verbs share.
type Topic struct {
	Name    string // as it is given to relive help
	Section int    // of the manual
	Short   string
	file    string
}

// Topics are all topics.
var Topics = []Topic{
	{"layouts", 7, "which live systems relive knows, and where their boots have the changes", "places.md"},
	{"safety", 7, "the order of writes, what survives a crash, and what is kept", "safety.md"},
	{"exclude", 5, "lists of what is left out of a new image", "excludes.md"},
}

// Text is the topic's document, Markdown.
func (t Topic) Text() string {
	text, err := files.ReadFile(t.file)
	if err != nil {
		panic("docs: " + err.Error()) // it is in the program
	}
	return string(text)
}

// TopicOf finds a topic by its name.
func TopicOf(name string) (Topic, bool) {
	for _, t := range Topics {
		if t.Name == name {
			return t, true
		}
	}
	return Topic{}, false
}
