package meshrun

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// troubles are what a mesh process cannot do now, tries again, and tells in its status meanwhile.
type troubles struct {
	logger *slog.Logger

	mu   sync.Mutex
	text map[string]string // by what it concerns
}

// note keeps what is the matter with something; nil: nothing any more. It logs changes only.
func (t *troubles) note(what string, err error) {
	text := ""
	if err != nil {
		text = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.text[what] == text:
		return
	case text == "":
		t.logger.Info("it works again", "what", what)
		delete(t.text, what)
		return
	}
	t.logger.Error("it goes on without", "what", what, "err", text)
	if t.text == nil {
		t.text = map[string]string{}
	}
	t.text[what] = text
}

// list returns all of them, in order.
func (t *troubles) list() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Values(t.text))
}
