package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"relive/codec"
	"relive/remaster/refusal"
)

// codecsVariable is the environment variable that chooses the codecs where the
// flag does not.
const codecsVariable = "RELIVE_CODECS"

// library opens the codecs that --codecs, else the environment, asks for.
func (a *app) library() (*codec.Library, error) {
	word, from := a.codecs, "--codecs "+a.codecs
	if word == "" {
		word = os.Getenv(codecsVariable)
		from = codecsVariable + "=" + word
	}
	mode, err := codec.ParseMode(word)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: not auto, go or native", from)}
	}
	lib, err := codec.Open(mode)
	var native *codec.NativeError
	if errors.As(err, &native) {
		return nil, nativeRefusal(from, native)
	}
	return lib, err
}

// nativeRefusal says which packages have what was asked for.
func nativeRefusal(from string, native *codec.NativeError) error {
	hint := "use auto or go; the build that is not static, for amd64 and arm64, has them"
	if len(native.Missing) > 0 {
		var packages []string
		for _, m := range native.Missing {
			packages = append(packages, m.Package)
		}
		hint = "install " + strings.Join(packages, " ") + " (Debian's names), or use auto or go"
	}
	return refusal.New(refusal.NotInstalled, hint, from+": %v", native)
}
