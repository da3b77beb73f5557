package report_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/reprise-ci/reprise/internal/analysis"
	"github.com/reprise-ci/reprise/internal/report"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("../../docs/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestSchemaHoldsForEveryReport(t *testing.T) {
	s := schema(t)
	docs := samples()
	docs = append(docs, sample{name: "large", doc: large(300)})
	for _, x := range docs {
		t.Run(x.name, func(t *testing.T) {
			data := render(t, x.doc.WriteJSON)
			if err := validate(t, s, data); err != nil {
				t.Error(err)
			}
			back, err := report.ReadJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if again := render(t, back.WriteJSON); !bytes.Equal(data, again) {
				t.Errorf("reading and writing again changes the report:\n%s", cmp.Diff(string(data), string(again)))
			}
		})
	}
}

// TestSchemaKnowsEveryField fills each field of a document, so that a field
// which the schema does not know fails here.
func TestSchemaKnowsEveryField(t *testing.T) {
	d := &report.Document{}
	fill(reflect.ValueOf(d).Elem())
	d.Schema, d.Verdict, d.Stale = report.SchemaV1, analysis.Fail, 0.5
	d.Failure.Class = report.FailureService
	d.Mock = map[string]analysis.Account{"head": d.Mock["x"]}
	for i := range d.Findings {
		d.Findings[i].Kind, d.Findings[i].Cause = analysis.KindOutbound, analysis.CauseHead
	}
	for _, q := range []*analysis.Quantile{&d.Endpoints[0].P50, &d.Endpoints[0].P90, &d.Latency.Overall, &d.OpenLoop.P50, &d.OpenLoop.P90} {
		q.Verdict = analysis.Slower
	}
	d.OpenLoop.Verdict, d.Capacity.Verdict = analysis.Slower, analysis.Slower
	if err := validate(t, schema(t), render(t, d.WriteJSON)); err != nil {
		t.Errorf("docs/report.schema.json and the document are out of step: %v", err)
	}
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Map:
		e, k := reflect.New(v.Type().Elem()).Elem(), reflect.New(v.Type().Key()).Elem()
		fill(e)
		k.SetString("x")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(day(1)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic(fmt.Sprintf("fill: %s", v.Kind()))
	}
}

func TestSchemaRefuses(t *testing.T) {
	good := string(render(t, clean().WriteJSON))
	s := schema(t)
	for _, c := range []struct{ reason, old, new string }{
		{"another schema", "reprise.report/v1", "reprise.report/v2"},
		{"an unknown verdict", `"verdict": "pass"`, `"verdict": "ok"`},
		{"an unknown key", `"service":`, `"servce": "x", "service":`},
		{"a missing key", `"service": "shop",`, ``},
		{"a text for a number", `"replayed": 318`, `"replayed": "318"`},
		{"a negative count", `"replayed": 318`, `"replayed": -1`},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: nothing replaced", c.reason)
		}
		if validate(t, s, []byte(bad)) == nil {
			t.Errorf("%s: the schema accepts it", c.reason)
		}
	}
}

func TestFiguresThatAreNoNumbers(t *testing.T) {
	d := clean()
	d.Endpoints[0].P50 = quantile(math.NaN(), math.Inf(1), math.NaN(), math.Inf(-1), math.NaN(), math.NaN(), math.Inf(1), analysis.SpeedInconclusive)
	d.Endpoints[0].RoundsHeadMS[0] = math.NaN()
	d.Latency.NoiseFloor = math.Inf(1)
	for ext, write := range renderers(sample{doc: d}) {
		out := string(render(t, write))
		if strings.Contains(out, "NaN") || strings.Contains(out, "Inf") {
			t.Errorf("%s shows a figure that is none", ext)
		}
	}
	if err := validate(t, schema(t), render(t, d.WriteJSON)); err != nil {
		t.Error(err)
	}
	if !math.IsNaN(d.Endpoints[0].P50.Ratio) || !math.IsNaN(d.Endpoints[0].RoundsHeadMS[0]) {
		t.Error("writing changed the document")
	}
}

func TestReadJSONRefuses(t *testing.T) {
	good := string(render(t, clean().WriteJSON))
	for _, c := range []struct{ reason, input, want string }{
		{"nothing", "", "unexpected end"},
		{"no JSON", "<html>", "invalid character"},
		{"a newer schema is named before its unknown keys", `{"schema":"reprise.report/v2","new":1}`, `"reprise.report/v2"`},
		{"no schema", `{}`, `schema is ""`},
		{"an unknown key", strings.Replace(good, `"service":`, `"servce":1,"service":`, 1), "servce"},
		{"two documents", good + good, "after top-level value"},
		{"an unknown verdict", strings.Replace(good, `"verdict": "pass"`, `"verdict": "great"`, 1), "great"},
		{"an unknown kind", strings.Replace(string(render(t, findings().WriteJSON)), `"kind": "crash"`, `"kind": "crsh"`, 1), "crsh"},
		{"too much", `{"schema":"` + strings.Repeat("x", report.ReadLimit), "too large"},
	} {
		if _, err := report.ReadJSON(strings.NewReader(c.input)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one about %s", c.reason, err, c.want)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	for _, s := range samples() {
		var b bytes.Buffer
		if err := s.doc.WriteJSON(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte(`{"schema":"reprise.report/v1","verdict":"pass","endpoints":[{}],"latency":{"noise_floor":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := report.ReadJSON(bytes.NewReader(data))
		if err != nil {
			return
		}
		// What was accepted can be shown in every way.
		for _, write := range renderers(sample{doc: d}) {
			render(t, write)
		}
	})
}
