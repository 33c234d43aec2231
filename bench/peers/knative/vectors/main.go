// Decisions of Knative Serving's own autoscaler for fixed inputs, as the CSV that the tests of Catnap's autoscaler are held
// against. The package is the real one; only where averages and pods come from is played.
//
//	go run . > ../../../../autoscaler/core/tests/knative/vectors.csv
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"math"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/autoscaling"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/aggregation"
	"knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/scaling"
	"knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
)

// sequence is a revision with its settings, as an owner and an operator of Knative write them; 0 where nothing was written.
type sequence struct {
	name          string
	metric        string
	target, limit int
	utilization   int
	wake          int
	up, down      float64
	threshold     int
	window, delay time.Duration
	ready         int
}

// step is what the autoscaler is shown at one time.
type step struct {
	at            time.Duration
	stable, panic float64
	ready         int
}

// world plays the metrics and the pods of a revision.
type world struct{ step }

func (w *world) StableAndPanicConcurrency(types.NamespacedName, time.Time) (float64, float64, error) {
	return w.stable, w.panic, nil
}

func (w *world) StableAndPanicRPS(types.NamespacedName, time.Time) (float64, float64, error) {
	return w.stable, w.panic, nil
}

func (w *world) ReadyCount() (int, error)    { return w.ready, nil }
func (w *world) NotReadyCount() (int, error) { return 0, nil }

// spec is what Knative makes of the settings.
func (s sequence) spec() (*scaling.DeciderSpec, error) {
	cluster, err := config.NewConfigFromMap(map[string]string{
		"max-scale-up-rate":   strconv.FormatFloat(s.up, 'f', -1, 64),
		"max-scale-down-rate": strconv.FormatFloat(s.down, 'f', -1, 64),
	})
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{
		autoscaling.MetricAnnotationKey:                   s.metric,
		autoscaling.PanicThresholdPercentageAnnotationKey: strconv.Itoa(s.threshold),
		autoscaling.WindowAnnotationKey:                   s.window.String(),
		autoscaling.ScaleDownDelayAnnotationKey:           s.delay.String(),
		autoscaling.ActivationScaleKey:                    strconv.Itoa(s.wake),
	}
	if s.target > 0 {
		annotations[autoscaling.TargetAnnotationKey] = strconv.Itoa(s.target)
	}
	if s.utilization > 0 {
		annotations[autoscaling.TargetUtilizationPercentageKey] = strconv.Itoa(s.utilization)
	}
	autoscaler := &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: s.name, Annotations: annotations},
		Spec: autoscalingv1alpha1.PodAutoscalerSpec{
			ContainerConcurrency: int64(s.limit),
			Reachability:         autoscalingv1alpha1.ReachabilityReachable,
		},
	}
	return &resources.MakeDecider(autoscaler, cluster).Spec, nil
}

// run writes the sequence and each step with what the autoscaler decides.
func (s sequence) run(out *bufio.Writer, next func(desired int) (step, bool)) error {
	spec, err := s.spec()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sequence,%s,%s,%d,%d,%d,%d,%s,%s,%d,%.0f,%.0f,%d\n", s.name, s.metric, s.target, s.limit, s.utilization,
		s.wake, number(s.up), number(s.down), s.threshold, s.window.Seconds(), s.delay.Seconds(), s.ready)
	// One that starts with several pods is in panic from the clock's time on. Delays are counted in ticks of two seconds.
	start := time.Now().Truncate(2 * time.Second)
	played := &world{step{ready: s.ready}}
	metrics := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(metrics))
	autoscaler := scaling.New(*attribute.EmptySet(), provider, "default", s.name, played, played, spec)
	desired := s.ready
	for {
		shown, more := next(desired)
		if !more {
			return nil
		}
		played.step = shown
		result := autoscaler.Scale(zap.NewNop().Sugar(), start.Add(shown.at))
		if !result.ScaleValid {
			return fmt.Errorf("%s at %s: no decision", s.name, shown.at)
		}
		desired = int(result.DesiredPodCount)
		panicking, err := panics(metrics)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%.0f,%s,%s,%d,%d,%d\n",
			shown.at.Seconds(), number(shown.stable), number(shown.panic), shown.ready, desired, panicking)
	}
}

// panics is what the autoscaler says of itself: 1 in panic, else 0.
func panics(metrics *metric.ManualReader) (int64, error) {
	var collected metricdata.ResourceMetrics
	if err := metrics.Collect(context.Background(), &collected); err != nil {
		return 0, err
	}
	for _, scope := range collected.ScopeMetrics {
		for _, one := range scope.Metrics {
			gauge, whole := one.Data.(metricdata.Gauge[int64])
			if one.Name == "kn.revision.panic.mode" && whole && len(gauge.DataPoints) == 1 {
				return gauge.DataPoints[0].Value, nil
			}
		}
	}
	return 0, errors.New("the autoscaler does not say whether it panics")
}

// fixed shows these steps.
func fixed(steps ...step) func(int) (step, bool) {
	return func(int) (step, bool) {
		if len(steps) == 0 {
			return step{}, false
		}
		first := steps[0]
		steps = steps[1:]
		return first, true
	}
}

// walk shows random averages, with pods that follow the decisions for better or worse.
func walk(random *rand.Rand, s sequence, most float64) func(int) (step, bool) {
	at, left := time.Duration(0), 50
	load, ready := random.Float64()*most, s.ready
	return func(desired int) (step, bool) {
		if left == 0 {
			return step{}, false
		}
		left--
		// A wild step now and then, or none at all.
		switch random.Intn(8) {
		case 0:
			load = random.Float64() * most
		case 1:
			load = 0
		default:
			load = math.Max(0, load+(random.Float64()-0.5)*most/4)
		}
		burst := math.Max(0, load*(0.5+random.Float64()*2))
		if random.Intn(3) > 0 {
			ready = desired
		} else {
			ready = (ready + desired) / 2
		}
		shown := step{at: at, stable: round(load), panic: round(burst), ready: ready}
		at += 2 * time.Second * time.Duration(1+random.Intn(random.Intn(12)+1))
		return shown, true
	}
}

// averages writes what Knative's buckets of one second make of values that come with pauses.
func averages(out *bufio.Writer, random *rand.Rand, name string, window int) {
	fmt.Fprintf(out, "series,%s,%d\n", name, window)
	buckets := aggregation.NewTimedFloat64Buckets(time.Duration(window)*time.Second, time.Second)
	start := time.Unix(1_000_000_000, 0)
	for second := 0; second < 8*window; {
		value := round(random.Float64() * 20)
		now := start.Add(time.Duration(second) * time.Second)
		buckets.Record(now, value)
		fmt.Fprintf(out, "%d,%s,%s\n", second, number(value), number(buckets.WindowAverage(now)))
		switch random.Intn(12) {
		case 0:
			// A pause that is more than a window, so that averages begin anew.
			second += window + 1 + random.Intn(window)
		case 1, 2:
			second += 1 + random.Intn(window-1)
		default:
			second++
		}
	}
}

func round(value float64) float64 { return math.Round(value*1000) / 1000 }

func number(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }

func pick[T any](random *rand.Rand, among ...T) T { return among[random.Intn(len(among))] }

func write(out *bufio.Writer) error {
	second := time.Second
	plain := sequence{
		metric: autoscaling.Concurrency, target: 10, utilization: 100, wake: 1, up: 1000, down: 2, threshold: 200, window: 60 * second,
	}
	with := func(name string, change func(*sequence)) sequence {
		changed := plain
		changed.name = name
		change(&changed)
		return changed
	}
	rate := func(s *sequence) { s.metric = autoscaling.RPS }
	for _, one := range []struct {
		sequence sequence
		steps    []step
	}{
		{with("grows", func(s *sequence) { s.threshold = 1000 }), []step{{0, 50, 10, 1}, {2 * second, 100, 10, 1}}},
		{with("shrinks", func(*sequence) {}), []step{{0, 100, 100, 8}, {2 * second, 50, 50, 8}}},
		{with("to-zero", func(*sequence) {}), []step{{0, 1, 0, 1}, {2 * second, 0, 0, 1}, {4 * second, 0, 0, 0}}},
		{with("at-most-half", func(*sequence) {}), []step{{0, 10, 10, 10}, {2 * second, 10, 10, 5}, {4 * second, 10, 10, 2}}},
		{with("panic", func(s *sequence) { s.target = 1 }),
			[]step{{0, 11, 25, 10}, {30 * second, 30, 41, 40}, {60 * second, 40, 40, 50}, {62 * second, 50, 56, 55}}},
		{with("panic-extended", func(s *sequence) { s.target = 1 }),
			[]step{{0, 11, 25, 10}, {30 * second, 30, 80, 40}, {70 * second, 30, 30, 80}, {90 * second, 30, 30, 80}, {92 * second, 30, 30, 80}}},
		{with("panic-at-its-threshold", func(*sequence) {}), []step{{0, 10, 19, 1}, {2 * second, 10, 20, 1}, {4 * second, 10, 10, 2}}},
		{with("panic-of-the-stable-window", func(s *sequence) { s.target = 1 }), []step{{0, 40, 30, 10}, {2 * second, 20, 30, 40}}},
		{with("exponential", func(s *sequence) { s.target = 1 }),
			[]step{{0, 6, 6, 1}, {2 * second, 36, 36, 6}, {4 * second, 216, 216, 36}, {6 * second, 1296, 1296, 216}, {8 * second, 1296, 1296, 1296}}},
		{with("wake", func(s *sequence) { s.wake = 5 }), []step{{0, 0, 0, 1}, {2 * second, 1, 1, 0}, {4 * second, 0, 1, 5}, {6 * second, 80, 80, 5}}},
		{with("rates", func(s *sequence) { s.target, s.up, s.down, s.threshold = 1, 1.1, 10, 1000 }), []step{{0, 3, 3, 2}, {2 * second, 100, 5, 10}, {4 * second, 0, 0, 15}}},
		{with("delay", func(s *sequence) { s.down, s.threshold, s.delay = 10, 10000, 60*second }),
			[]step{{0, 100, 100, 10}, {20 * second, 50, 50, 10}, {58 * second, 50, 50, 10}, {60 * second, 50, 50, 10}, {62 * second, 20, 20, 5}, {140 * second, 0, 0, 2}}},
		{with("restart", func(s *sequence) { s.ready = 8 }), []step{{0, 10, 10, 8}, {30 * second, 10, 10, 8}, {60 * second, 10, 10, 8}, {62 * second, 10, 10, 8}}},
		{with("restart-of-one", func(s *sequence) { s.ready = 1 }), []step{{0, 0, 0, 1}, {2 * second, 5, 5, 1}}},
		{with("utilization", func(s *sequence) { s.utilization = 70 }), []step{{0, 7, 7, 1}, {2 * second, 7.001, 7.001, 1}, {4 * second, 70, 70, 5}, {6 * second, 71, 71, 10}}},
		{with("utilization-by-default", func(s *sequence) { s.utilization = 0 }), []step{{0, 7, 7, 1}, {2 * second, 8, 8, 1}}},
		{with("utilization-of-one-percent", func(s *sequence) { s.target, s.utilization = 1, 1 }), []step{{0, 0.1, 0.1, 1}, {2 * second, 1, 1, 10}}},
		{with("target-by-default", func(s *sequence) { s.target, s.utilization = 0, 0 }), []step{{0, 70, 70, 1}, {2 * second, 71, 71, 1}, {4 * second, 700, 700, 4}}},
		{with("limit", func(s *sequence) { s.target, s.limit, s.utilization = 0, 5, 0 }), []step{{0, 3.5, 3.5, 1}, {2 * second, 10, 10, 2}}},
		{with("target-below-the-limit", func(s *sequence) { s.target, s.limit = 4, 10 }), []step{{0, 8, 8, 2}, {2 * second, 9, 9, 2}}},
		{with("limit-below-the-target", func(s *sequence) { s.target, s.limit = 20, 10 }), []step{{0, 20, 20, 2}, {2 * second, 21, 21, 2}}},
		{with("rate", rate), []step{{0, 15, 15, 1}, {2 * second, 100, 100, 2}, {4 * second, 40, 20, 10}}},
		{with("rate-by-default", func(s *sequence) { rate(s); s.target, s.utilization = 0, 0 }), []step{{0, 140, 140, 1}, {2 * second, 141, 141, 1}, {4 * second, 1400, 2900, 2}}},
		{with("rate-with-a-limit", func(s *sequence) { rate(s); s.target, s.limit = 50, 5 }), []step{{0, 100, 100, 2}, {2 * second, 101, 101, 2}}},
		{with("rate-in-panic", func(s *sequence) { rate(s); s.utilization = 70 }), []step{{0, 20, 60, 2}, {30 * second, 20, 10, 9}, {60 * second, 20, 10, 9}, {62 * second, 20, 10, 9}}},
	} {
		if err := one.sequence.run(out, fixed(one.steps...)); err != nil {
			return err
		}
	}
	random := rand.New(rand.NewSource(1))
	for number := range 36 {
		s := with(fmt.Sprintf("walk-%d", number), func(s *sequence) {
			s.metric = pick(random, autoscaling.Concurrency, autoscaling.Concurrency, autoscaling.RPS)
			s.target = pick(random, 0, 1, 3, 7, 10, 100)
			s.limit = pick(random, 0, 0, 1, 5, 50)
			s.utilization = pick(random, 0, 1, 50, 70, 85, 100)
			s.wake = pick(random, 1, 1, 2, 5)
			s.up = pick(random, 2.0, 10, 1000)
			s.down = pick(random, 1.5, 2, 10)
			s.threshold = pick(random, 110, 200, 400)
			s.window = pick[time.Duration](random, 6, 30, 60, 120) * second
			s.delay = pick[time.Duration](random, 0, 0, 10, 60, 300) * second
			s.ready = pick(random, 0, 0, 1, 4, 20)
		})
		spec, err := s.spec()
		if err != nil {
			return err
		}
		if err := s.run(out, walk(random, s, 40*spec.TargetValue)); err != nil {
			return err
		}
	}
	for number, window := range []int{6, 10, 30, 60, 60, 120} {
		averages(out, random, fmt.Sprintf("averages-%d", number), window)
	}
	return nil
}

func main() {
	out := bufio.NewWriter(os.Stdout)
	head := []string{
		"# Decisions and averages of knative.dev/serving v0.50.0 (Apache-2.0, The Knative Authors); bench/peers/knative/vectors wrote them.",
		"# sequence,name,metric,target,limit,utilization,wake,up rate,down rate,panic threshold,window,down delay,ready at start",
		"# seconds,stable average,panic average,ready,desired,in panic",
		"# series,name,window",
		"# second,value,average over the window",
	}
	fmt.Fprintln(out, strings.Join(head, "\n"))
	if err := write(out); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}
