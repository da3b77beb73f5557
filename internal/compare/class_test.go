package compare_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/reprise-ci/reprise/internal/compare"
)

func jwt(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(claims)) + "." + enc([]byte("signature"))
}

func TestClassOf(t *testing.T) {
	tests := []struct {
		samples []string
		want    string
		holds   []string
		leaves  []string
	}{
		{[]string{"8c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11", "11111111-2222-4333-8444-555555555555"}, "uuid-v4",
			[]string{"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"}, []string{"fixed", "", "aaaaaaaa-bbbb-1ccc-8ddd-eeeeeeeeeeee"}},
		{[]string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "01BX5ZZKBKACTAV9WEVGEMMVRZ"}, "ulid", []string{"01BX5ZZKBKACTAV9WEVGEMMVS0"}, []string{"81BX5ZZKBKACTAV9WEVGEMMVS0"}},
		{[]string{"507f1f77bcf86cd799439011", "507f191e810c19729de860ea"}, "object id", nil, []string{"507f191e810c19729de860e"}},
		{[]string{jwt(`{"sub":"1","exp":1}`), jwt(`{"sub":"2","exp":2}`)}, "jwt(alg=HS256,exp,sub)", []string{jwt(`{"exp":3,"sub":"x"}`)}, []string{jwt(`{"sub":"1"}`), "ey.ey.ey"}},
		{[]string{"2026-11-23T08:00:00Z", "2026-11-23T08:00:00.123Z"}, "time-rfc3339", []string{"2026-11-24T00:00:00.5Z"}, []string{"2026-11-23T09:00:00+01:00", "2026-11-23", "2026-13-45T08:00:00Z"}},
		{[]string{"2026-11-23", "2026-11-24"}, "time-date", nil, []string{"23.11.2026"}},
		{[]string{"1764000000", "1764000001"}, "epoch-s", nil, []string{"1764000000000", "12"}},
		{[]string{"1764000000123", "1764000001456"}, "epoch-ms", nil, []string{"1764000000"}},
		{[]string{"1764000000123456789"}, "epoch-ns", nil, []string{"1764000000123"}},
		{[]string{"a", "b", "a", "b", "a", "b", "a", "b"}, "one of a, b", []string{"a"}, []string{"c"}},
		{[]string{"a1b2c3d4e5f60718", "00112233445566ff"}, "hex(16)", []string{"ffffffffffffffff"}, []string{"ffff", "gggggggggggggggg"}},
		{[]string{"1", "4", "9"}, "increasing integer", []string{"10"}, []string{"-1", "1.5", "x"}},
		{[]string{"4", "1", "9"}, "integer", []string{"10"}, []string{"-1", "1.5"}},
		{[]string{"4.5", "-1", "9"}, "number", []string{"-10.25"}, []string{"x", "4500", "-900"}},
		{[]string{"12", "3", "7"}, "integer", []string{"0", "30"}, []string{"12000"}},
		{[]string{"1764000000123456", "1764000001000456"}, "epoch-us", nil, []string{"1764000000123"}},
		{[]string{"018f2b1c-7d3a-7b11-8f00-0123456789ab", "018f2b1c-7d3b-7c22-9f00-0123456789ab"}, "uuid-v7", nil, []string{"8c1f5c0e-1b1f-4c39-9d4a-0b7a8f3f2a11"}},
		{[]string{"ord_8f3k2", "ord_9x1m4"}, "token(ord_…)", []string{"ord_a1b2c"}, []string{"cus_a1b2c", "ord_a1b2c3", "ord_A1B2C", "two words"}},
		{[]string{"took 3 ms", "took 12 ms"}, "text", []string{"anything"}, []string{""}},
		{[]string{"", "11111111-2222-4333-8444-555555555555"}, "uuid-v4 or empty", []string{""}, []string{"x"}},
		{nil, "any", []string{"", "x"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			c := compare.ClassOf(tt.samples...)
			if c.String() != tt.want {
				t.Errorf("ClassOf(%q) = %s, want %s", tt.samples, c, tt.want)
			}
			for _, v := range append(tt.samples, tt.holds...) {
				if !c.Holds(v) {
					t.Errorf("%s should hold %q", c, v)
				}
			}
			for _, v := range tt.leaves {
				if c.Holds(v) {
					t.Errorf("%s should not hold %q", c, v)
				}
			}
		})
	}
}

func TestClassTime(t *testing.T) {
	for _, v := range []string{"2025-11-24T16:00:00Z", "2025-11-24 16:00:00", "Mon, 24 Nov 2025 16:00:00 GMT", "1764000000", "1764000000000", "1764000000000000", "1764000000000000000"} {
		got, ok := compare.ClassOf(v).Time(v)
		if !ok || got.Unix() != 1764000000 {
			t.Errorf("%s is read as %v, %v", v, got, ok)
		}
	}
	if _, ok := compare.ClassOf("12").Time("12"); ok {
		t.Error("12 is no point in time")
	}
}

func TestValuesUseTheAddressesOfDifferences(t *testing.T) {
	a := answer(200, `{"a":{"b":[1,"x"]},"odd key":true}`, "X-A: 1", "Set-Cookie: sid=1; Path=/")
	b := answer(200, `{"a":{"b":[2,"y"]},"odd key":false}`, "X-A: 2", "Set-Cookie: sid=2; Path=/x")
	values := map[string]string{}
	for p, v := range (compare.Reading{}).Values(b) {
		values[p.String()] = v
	}
	diffs := compare.Responses(a, b, compare.Options{})
	if len(diffs) != 6 {
		t.Fatalf("want 6 differences, got %v", show(diffs))
	}
	for _, d := range diffs {
		if got := values[d.Path.String()]; got != d.B {
			t.Errorf("Values gives %q at %s, the difference %q", got, d.Path, d.B)
		}
		if got, ok := (compare.Reading{}).ValueAt(b, d.Path); !ok || got != d.B {
			t.Errorf("ValueAt gives %q, %v at %s, the difference %q", got, ok, d.Path, d.B)
		}
	}
}

func ExampleClassOf() {
	c := compare.ClassOf("ord_8f3k2", "ord_9x1m4")
	fmt.Println(c, c.Holds("ord_11111"), c.Holds("fixed"))
	// Output: token(ord_…) true false
}
