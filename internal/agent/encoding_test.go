package agent

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/reprise-ci/reprise/internal/traffic"
)

// sameExchange treats times by instant and offset and paths by their steps;
// everything else must be identical, nil and empty apart.
var sameExchange = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool {
		_, ao := a.Zone()
		_, bo := b.Zone()
		return a.Equal(b) && ao == bo
	}),
	cmp.Comparer(func(a, b traffic.Path) bool {
		return a.Len() == b.Len() && a.Within(b)
	}),
}

// anything fills a value of any type in the vocabulary. It goes by reflection,
// so that a field added to the exchange is tested the day it is added.
func anything(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case time.Time:
		at := time.Unix(rapid.Int64Range(-1<<33, 1<<34).Draw(t, name+".sec"), rapid.Int64Range(0, 999_999_999).Draw(t, name+".nsec"))
		if offset := rapid.SampledFrom([]int{0, 3600, -5 * 3600, 20_700}).Draw(t, name+".zone"); offset != 0 {
			v.Set(reflect.ValueOf(at.In(time.FixedZone("", offset))))
		} else {
			v.Set(reflect.ValueOf(at.UTC()))
		}
		return
	case traffic.Path:
		var p traffic.Path
		for range rapid.IntRange(0, 4).Draw(t, name) {
			if rapid.Bool().Draw(t, name) {
				p = p.Elem(rapid.IntRange(0, 1000).Draw(t, name))
			} else {
				p = p.Child(text(t, name))
			}
		}
		v.Set(reflect.ValueOf(p))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text(t, name))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, name))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, name)))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, name))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, name)))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name+" set") {
			v.Set(reflect.New(v.Type().Elem()))
			anything(t, v.Elem(), name)
		}
	case reflect.Slice:
		n := rapid.IntRange(-1, 3).Draw(t, name+" len")
		if n < 0 {
			return // nil
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			anything(t, v.Index(i), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			anything(t, v.Field(i), name+"."+v.Type().Field(i).Name)
		}
	default:
		t.Fatalf("%s is a %s: the encoding does not know how to carry it", name, v.Type())
	}
}

// text is any string of bytes, UTF-8 or not.
func text(t *rapid.T, name string) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, name))
}

func TestExchangeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []*traffic.Exchange
		for range rapid.IntRange(0, 3).Draw(t, "exchanges") {
			x := &traffic.Exchange{}
			anything(t, reflect.ValueOf(x).Elem(), "x")
			want = append(want, x)
		}
		got, err := NewStreamReader(bytes.NewReader(stream(t, nil, want...))).All()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sameExchange); diff != "" {
			t.Errorf("what arrived differs (-sent +arrived):\n%s", diff)
		}
	})
}

type fataler interface{ Fatal(...any) }

func stream(t fataler, reason error, xs ...*traffic.Exchange) []byte {
	var buf bytes.Buffer
	w := NewStreamWriter(&buf)
	for _, x := range xs {
		if err := w.Exchange(x); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(reason); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestStreamEnds(t *testing.T) {
	x := &traffic.Exchange{ID: "a", Request: traffic.Request{Method: "GET", Target: "/"}}
	whole := stream(t, nil, x)
	for cut := range len(whole) {
		_, err := NewStreamReader(bytes.NewReader(whole[:cut])).All()
		if err == nil {
			t.Fatalf("a stream cut after %d of %d bytes was taken for complete", cut, len(whole))
		}
		if errors.Is(err, io.EOF) {
			t.Fatalf("cut after %d bytes: %v looks like the end", cut, err)
		}
	}
	_, err := NewStreamReader(bytes.NewReader(stream(t, errors.New("the pass was cancelled"), x))).All()
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Message != "the pass was cancelled" {
		t.Errorf("got %v, want the writer's reason", err)
	}
}

func TestStreamRefusesHugeFrames(t *testing.T) {
	_, err := NewStreamReader(strings.NewReader("x\xff\xff\xff\xff\xff\xff\xff\xff\x7f")).Next()
	if !errors.Is(err, errDamaged) {
		t.Errorf("got %v, want a damaged stream", err)
	}
}

func FuzzStreamReader(f *testing.F) {
	f.Add([]byte("z\x00"))
	f.Add(stream(f, nil, &traffic.Exchange{
		ID: "in-1", Direction: traffic.Inbound, Start: time.Unix(1, 2).UTC(),
		Request:  traffic.Request{Method: "POST", Header: traffic.Header{{Name: "A", Value: "\xff"}}, Body: traffic.Body{Raw: []byte("{}"), Size: 2}},
		Response: &traffic.Response{Status: 200},
		Match:    &traffic.Match{Tier: traffic.TierMiss, Nearest: []traffic.Near{{Record: "r", Score: 0.5, Differences: []traffic.Disagreement{{Path: traffic.At("request", "body").Elem(1), Recorded: "1", Live: "2"}}}}},
	}))
	f.Add([]byte("x\x05\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := NewStreamReader(bytes.NewReader(data)).All()
		if err != nil {
			return
		}
		second, err := NewStreamReader(bytes.NewReader(stream(t, nil, first...))).All()
		if err != nil {
			t.Fatalf("what was read cannot be written and read again: %v", err)
		}
		if diff := cmp.Diff(first, second, sameExchange, cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })); diff != "" {
			t.Error(diff)
		}
	})
}
