package transform

import (
	"slices"
	"time"

	"github.com/reprise-ci/reprise/internal/fresh"
	"github.com/reprise-ci/reprise/internal/traffic"
)

// clocks finds the places in requests whose dates follow the clock of the
// client: "now", "until tomorrow", "since an hour ago". They have to move with
// the age of the recording. A birthday or the day of a concert does not.
//
// A place follows the clock when, wherever the recording has a date there that
// no answer gave, this holds:
//
//   - each time is within ten minutes of its request, or each bare date is the
//     day of its request or one beside it; or
//   - there are three different dates or more, and their distance from their
//     requests is the same, to a tenth of the time over which these were sent.
type clocks struct {
	places map[clockPlace][]sighting
	order  []clockPlace
}

// clockPlace is a place in the requests of one endpoint.
type clockPlace struct{ endpoint, pattern string }

// sighting is one date in one request.
type sighting struct {
	id    string
	path  traffic.Path
	start time.Time
	date  fresh.Date
}

const (
	nearNow   = 10 * time.Minute
	clockSeen = 3
)

func (c *clocks) see(endpoint string, x *traffic.Exchange, s spot) {
	d, ok := fresh.ReadDate(s.value)
	if !ok {
		return
	}
	place := clockPlace{endpoint, s.path.Pattern().String()}
	if _, known := c.places[place]; !known {
		c.order = append(c.order, place)
	}
	c.places[place] = append(c.places[place], sighting{x.ID, s.path, x.Start, d})
}

// follow visits all sightings at places that follow the clock.
func (c *clocks) follow(visit func(sighting)) {
	for _, place := range c.order {
		if seen := c.places[place]; followsClock(seen) {
			for _, s := range seen {
				visit(s)
			}
		}
	}
}

func followsClock(seen []sighting) bool {
	near := true
	different := make(map[time.Time]bool)
	var offsets, starts []time.Duration
	for _, s := range seen {
		from, limit := s.start, nearNow
		if s.date.Bare {
			from, limit = s.start.UTC().Truncate(24*time.Hour), 24*time.Hour
		}
		offset := s.date.Sub(from)
		near = near && offset.Abs() <= limit
		different[s.date.Time] = true
		offsets, starts = append(offsets, offset), append(starts, s.start.Sub(seen[0].start))
	}
	if near {
		return true
	}
	spread, span := slices.Max(offsets)-slices.Min(offsets), slices.Max(starts)-slices.Min(starts)
	return len(different) >= clockSeen && span > 0 && spread <= span/10
}
