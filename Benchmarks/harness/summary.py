"""What many rounds come to."""
import statistics


def summarize(samples):
    """Median, smallest and largest of what was measured; None if nothing was."""
    values = [value for value in samples if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def jain(rates):
    """Jain's index of fairness: 1 if all get the same, 1/n if one gets everything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else None


def ratio(ours, theirs):
    """How many times theirs ours is; None if either is missing or theirs is nothing."""
    return ours / theirs if ours is not None and theirs else None


def collect(rounds):
    """From a list of (system, {metric: value}) to {system: {metric: summary}}, in the order of appearance."""
    samples = {}
    for system, values in rounds:
        metrics = samples.setdefault(system, {})
        for metric, value in values.items():
            metrics.setdefault(metric, []).append(value)
    return {system: {metric: summary for metric, values in metrics.items() if (summary := summarize(values))}
            for system, metrics in samples.items()}
