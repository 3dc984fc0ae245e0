//! The metrics of Prometheus, as those of OpenTelemetry: the same names, without unit and `_total`, which have fields of their own.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric,
    number_data_point,
};
use prometheus_client::encoding::prometheus_protobuf::encode;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model as prometheus;
use prometheus_client::registry::Registry;

use super::text;

/// From when to when something was counted, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    started_ns: u64,
    now_ns: u64,
}

/// Everything that is registered, counted since `started_ns`.
pub(super) fn all(registry: &Registry, started_ns: u64, now_ns: u64) -> Vec<Metric> {
    let times = Times { started_ns, now_ns };
    // Without a writer nothing fails.
    encode(registry).unwrap_or_default().into_iter().filter_map(|family| of(family, times)).collect()
}

fn of(family: prometheus::MetricFamily, times: Times) -> Option<Metric> {
    let temporality = AggregationTemporality::Cumulative.into();
    let kind = family.r#type();
    let points = family.metric;
    let data = match kind {
        prometheus::MetricType::Counter => metric::Data::Sum(Sum {
            data_points: numbers(&points, times, |point| Some(point.counter.as_ref()?.value)),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        prometheus::MetricType::Gauge => metric::Data::Gauge(Gauge {
            data_points: numbers(&points, times, |point| Some(point.gauge.as_ref()?.value)),
        }),
        prometheus::MetricType::Histogram => metric::Data::Histogram(Histogram {
            data_points: points.iter().filter_map(|point| histogram(point, times)).collect(),
            aggregation_temporality: temporality,
        }),
        // There are none.
        prometheus::MetricType::Summary
        | prometheus::MetricType::Untyped
        | prometheus::MetricType::GaugeHistogram => return None,
    };
    let name = family.name.trim_end_matches("_total");
    let name = name.strip_suffix(&family.unit).map_or(name, |name| name.trim_end_matches('_'));
    let unit = match family.unit.as_str() {
        "seconds" => "s".to_owned(),
        "bytes" => "By".to_owned(),
        "bytes_per_second" => "By/s".to_owned(),
        "" => "1".to_owned(),
        other => format!("{{{other}}}"),
    };
    Some(Metric {
        name: name.to_owned(),
        description: family.help,
        unit,
        data: Some(data),
        ..Metric::default()
    })
}

fn numbers(
    points: &[prometheus::Metric],
    times: Times,
    value: impl Fn(&prometheus::Metric) -> Option<f64>,
) -> Vec<NumberDataPoint> {
    let point = |point: &prometheus::Metric| {
        Some(NumberDataPoint {
            attributes: attributes(point),
            start_time_unix_nano: times.started_ns,
            time_unix_nano: times.now_ns,
            value: Some(number_data_point::Value::AsDouble(value(point)?)),
            ..NumberDataPoint::default()
        })
    };
    points.iter().filter_map(point).collect()
}

/// Prometheus has sums up to each bound, and the last bound is infinite; OTLP has what is between two bounds.
fn histogram(point: &prometheus::Metric, times: Times) -> Option<HistogramDataPoint> {
    let histogram = point.histogram.as_ref()?;
    let bounds: Vec<_> = histogram.bucket.iter().filter(|bucket| bucket.upper_bound.is_finite()).collect();
    let sums = bounds.iter().map(|bucket| bucket.cumulative_count).chain([histogram.sample_count]);
    let bucket_counts = sums.scan(0, |before, sum| Some(sum.saturating_sub(std::mem::replace(before, sum))));
    Some(HistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: times.started_ns,
        time_unix_nano: times.now_ns,
        count: histogram.sample_count,
        sum: Some(histogram.sample_sum),
        bucket_counts: bucket_counts.collect(),
        explicit_bounds: bounds.iter().map(|bucket| bucket.upper_bound).collect(),
        ..HistogramDataPoint::default()
    })
}

fn attributes(point: &prometheus::Metric) -> Vec<KeyValue> {
    point.label.iter().map(|label| text(&label.name, &label.value)).collect()
}
