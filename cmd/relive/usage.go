package main

import "github.com/spf13/cobra"

// usageError is an error in what was asked for.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// typeUsage has cobra's errors in flags and arguments be usageErrors, of a command
// and all below it.
func typeUsage(c *cobra.Command) {
	typed := func(err error) error {
		if err != nil {
			err = usageError{err}
		}
		return err
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return typed(err) })
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, a []string) error { return typed(args(c, a)) }
	}
	// What cobra itself checks behind this finds nothing any more.
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		if err := c.ValidateRequiredFlags(); err != nil {
			return typed(err)
		}
		return typed(c.ValidateFlagGroups())
	}
	for _, sub := range c.Commands() {
		typeUsage(sub)
	}
}
