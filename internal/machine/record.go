package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// Record is what a set-up noted of a machine, for its agent, for the next set-up and for who repairs what differs.
type Record struct {
	// SSH are the TCP ports at which whoever keeps the machine reaches it.
	SSH []uint16 `json:"ssh"`
	// Programs are those that the units run, and Units their files, by the units' names.
	Programs map[string]string `json:"programs"`
	Units    map[string]string `json:"units"`
	// Filter is what the packet filter at boot should say; empty where a set-up noted none.
	Filter string `json:"filter,omitempty"`
	// Volume is the data volume as the last set-up with one was told of it; empty: no set-up noted one.
	Volume string `json:"volume,omitempty"`
}

const (
	recordName = "agent/machine.json"
	recordFile = Folder + "/" + recordName
	// formerFile is the record that was, for as long as a new agent has not proven that it works.
	formerFile = Folder + "/agent/machine.former.json"
)

// Is says whether the folder of a host is a machine's, rather than one beside others on somebody's computer. Whoever may
// not look is told that it is: a set-up keeps its record from all but root.
func Is(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, recordName))
	return !errors.Is(err, fs.ErrNotExist)
}

// Load reads what was noted of the machine that has the host folder dir. It is the zero Record, without an error, where
// no machine was set up.
func Load(dir string) (Record, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return Record{}, nil
	}
	if err != nil {
		return Record{}, err
	}
	return readRecord(b)
}

func readRecord(b []byte) (Record, error) {
	var r Record
	err := json.Unmarshal(b, &r)
	if err == nil && (r.Programs == nil || r.Units == nil) {
		err = errors.New("it says nothing")
	}
	if err != nil {
		return Record{}, fmt.Errorf("read what the set-up of this machine noted: %w", err)
	}
	return r, nil
}

func (r Record) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(recordFile, append(b, '\n'), 0o600)
}
