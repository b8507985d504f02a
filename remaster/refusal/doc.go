// Package refusal has the error of a step that would be unsafe as things stand,
// with what a person can do about it. Who gives one has changed nothing.
package refusal
