// SPDX-License-Identifier: Apache-2.0
package main

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	encoder = json.NewEncoder(os.Stdout)
	writing sync.Mutex
)

// say writes one line, whole and at once.
func say(what any) {
	writing.Lock()
	defer writing.Unlock()
	if encoder.Encode(what) != nil {
		os.Exit(1) // nobody reads any more
	}
}

// milliseconds of a duration, to the microsecond.
func milliseconds(duration time.Duration) float64 {
	return float64(duration.Microseconds()) / 1000
}

// wall is a time by CLOCK_REALTIME, ms.
func wall(at time.Time) float64 {
	return float64(at.UnixMicro()) / 1000
}

// nameIn takes a replica's answer apart: its name, and whom it sees at the other end.
func nameIn(answer string) (name, seen string) {
	words := strings.Fields(answer)
	if len(words) != 2 {
		return "", ""
	}
	return words[0], words[1]
}
