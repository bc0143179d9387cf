package remote

import (
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// processors are what uname calls those that programs are built for.
var processors = map[string]elf.Machine{"x86_64": elf.EM_X86_64, "aarch64": elf.EM_AARCH64}

// fits says why a program of this computer does not run on a server of which uname -sm says system.
func fits(program, system string) error {
	kernel, processor, _ := strings.Cut(system, " ")
	want, known := processors[processor]
	switch {
	case kernel != "Linux":
		return fmt.Errorf("it runs %s, and only Linux is supported", kernel)
	case !known:
		return fmt.Errorf("its processor is %q, and only x86_64 and aarch64 are supported", processor)
	}
	f, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%q is not a program for Linux: %w", program, err)
	}
	defer f.Close()
	if f.Machine != want {
		return fmt.Errorf("its processor is %s, and %q is built for %s: %w", processor, program, f.Machine, errProcessor)
	}
	return nil
}

// errProcessor says what to do about it.
var errProcessor = errors.New("use a build for that processor")
