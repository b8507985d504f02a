// Package refusal has the error of a step that would be unsafe as things stand,
// with what a person can do about it, and for programs a Code that says what
// stands in the way. Who gives one has changed nothing.
//
// A front end shows Fact and Hint with its own names for verbs and options (package
// say), or has by Code words and offers of its own.
package refusal
