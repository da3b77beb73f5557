package main

import (
	"fmt"
	"io"
	"strings"
)

func printFaults(out io.Writer, faults, harmless []caught) {
	found, byDiffy := 0, 0
	for _, c := range faults {
		if c.Found {
			found++
		}
		if c.Diffy {
			byDiffy++
		}
		if !c.Found || len(c.Others) > 0 || c.Snapshot {
			fmt.Fprintf(out, "  %-32s found %-5v others: %s\n", c.Name, c.Found, strings.Join(c.Others, "; "))
		}
	}
	silent, quiet := 0, 0
	for _, c := range harmless {
		if len(c.Others) == 0 && !c.Snapshot {
			silent++
		} else {
			fmt.Fprintf(out, "  %-32s is harmless, yet: %s\n", c.Name, strings.Join(c.Others, "; "))
		}
		if c.Noise == 0 {
			quiet++
		}
	}
	fmt.Fprintf(out, "%d of %d faults found, %d of %d harmless changes silent\n", found, len(faults), silent, len(harmless))
	fmt.Fprintf(out, "Diffy's rule on the same answers: %d of %d faults, %d of %d harmless changes silent\n", byDiffy, len(faults), quiet, len(harmless))
}
