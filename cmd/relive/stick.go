package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"relive/remaster/bytesize"
	"relive/remaster/live"
	"relive/remaster/status"
)

// stickJSON is a stick as JSON.
type stickJSON struct {
	Path       string           `json:"path"`
	Size       int64            `json:"size"`
	Table      string           `json:"table"`
	InUse      string           `json:"in_use,omitempty"`
	Partitions []partitionJSON  `json:"partitions"`
	Live       []*status.Status `json:"live"`
	Problems   []string         `json:"problems"`
}

type partitionJSON struct {
	Number     int    `json:"number"` // 0 is the whole disk
	Start      int64  `json:"start"`
	Size       int64  `json:"size"`
	Type       string `json:"type,omitempty"`
	Name       string `json:"name,omitempty"`
	FileSystem string `json:"filesystem,omitempty"`
	Label      string `json:"label,omitempty"`
	UUID       string `json:"uuid,omitempty"`
	Error      string `json:"error,omitempty"`
}

// stickStatus shows a device or image of a stick and every live system on it.
func (a *app) stickStatus(ctx context.Context, path string) error {
	e, err := a.env()
	if err != nil {
		return err
	}
	s, err := live.OpenStick(ctx, path)
	if err != nil {
		return err
	}
	defer s.Close()
	out := stickJSON{Path: path, Size: s.Disk.Size, Table: cmp.Or(string(s.Disk.Table.Kind), "none"), InUse: s.InUse,
		Partitions: []partitionJSON{}, Live: []*status.Status{}, Problems: append([]string{}, s.Problems...)}
	for _, p := range s.Disk.Problems {
		out.Problems = append(out.Problems, p.Error())
	}
	for _, p := range s.Disk.Partitions {
		j := partitionJSON{Number: p.Number, Start: p.Start, Size: p.Size, Type: p.Type, Name: p.Name, FileSystem: p.FileSystem,
			Label: p.Label, UUID: p.UUID}
		if p.Err != nil {
			j.Error = p.Err.Error()
		}
		out.Partitions = append(out.Partitions, j)
	}
	if !a.json {
		a.printStick(&out)
	}
	for _, f := range s.Lives {
		st, err := func() (*status.Status, error) {
			l, err := s.Open(ctx, e, f)
			if err != nil {
				return nil, err
			}
			defer l.Close()
			a.tellUnused(l)
			return status.Of(ctx, e, l)
		}()
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", f.Dir, err))
			continue
		}
		out.Live = append(out.Live, st)
		if !a.json {
			a.printf("\n")
			a.printStatus(st)
		}
	}
	var then error
	if slices.ContainsFunc(out.Live, func(s *status.Status) bool { return len(s.Unreadable) > 0 }) {
		then = errWarned
	}
	if a.json {
		return cmp.Or(a.printJSON(&out), then)
	}
	if len(s.Lives) == 0 {
		a.printf("no live system found\n")
	}
	return cmp.Or(a.showWarnings(out.Problems, then), then)
}

func (a *app) printStick(s *stickJSON) {
	a.printf("%-12s %s, %s, partition table: %s\n", "stick", s.Path, bytesize.Format(s.Size), s.Table)
	a.printInUse(s.InUse)
	for _, p := range s.Partitions {
		name := fmt.Sprintf("partition %d", p.Number)
		if p.Number == 0 {
			name = "whole disk"
		}
		words := []string{bytesize.Format(p.Size), cmp.Or(p.FileSystem, "no file system that is known")}
		if p.Label != "" {
			words = append(words, "label "+p.Label)
		}
		if p.UUID != "" {
			words = append(words, "UUID "+p.UUID)
		}
		if p.Type != "" {
			words = append(words, p.Type)
		}
		a.printf("%-12s %s\n", name, strings.Join(words, ", "))
	}
}
