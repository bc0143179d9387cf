package mesh

import (
	"maps"
	"slices"
)

// notes are what a person should know, one per matter.
type notes map[string]string

func (n *notes) put(matter, text string) {
	if *n == nil {
		*n = notes{}
	}
	(*n)[matter] = text
}

func (n *notes) drop(matter string) { delete(*n, matter) }

// list returns the notes in a stable order.
func (n notes) list() []string {
	var out []string
	for _, matter := range slices.Sorted(maps.Keys(n)) {
		out = append(out, n[matter])
	}
	return out
}
