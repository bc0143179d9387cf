package meshrun

import (
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// keyText is a public tunnel key as wg(8) prints it.
func keyText(k roster.Key) string { return tunnel.Key(k).String() }

func limitMemory() {}
