//go:build race

package mesh

// raceEnabled says that each step is several times as expensive.
const raceEnabled = true
