package cli

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// build names this program: the revision that it was built from, or the digest of its executable where nobody noted a
// revision or it is not the whole truth. It is empty where neither can be had.
func build() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if revision := cleanRevision(info.Settings); revision != "" {
			return revision
		}
	}
	exe := "/proc/self/exe" // what runs, whatever lies at its path by now
	if runtime.GOOS != "linux" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return ""
		}
	}
	sum, err := atomicfile.SHA256(exe)
	if err != nil {
		return ""
	}
	return "sha256:" + sum
}

// cleanRevision is the revision of a build without changes that no revision has, or "".
func cleanRevision(settings []debug.BuildSetting) string {
	revision, clean := "", false
	for _, s := range settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			clean = s.Value == "false"
		}
	}
	if !clean {
		return ""
	}
	return revision
}
