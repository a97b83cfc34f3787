// From what the graph gives to what is said of a photo, in the words of arcvit predict.
export function answer({labels, kind, temperature, thresholds, known_from}, logits, likeness, most) {
  const several = kind === "multilabel";
  const scores = Array.from(logits, logit => logit / temperature);
  const highest = Math.max(...scores);
  const powers = scores.map(score => several ? 1 / (1 + Math.exp(-score)) : Math.exp(score - highest));
  const sum = several ? 1 : powers.reduce((total, power) => total + power, 0);
  const probabilities = powers.map(power => power / sum);
  const ranked = labels.map((_, k) => k).sort((a, b) => probabilities[b] - probabilities[a]);
  const given = several ? ranked.filter(k => probabilities[k] >= thresholds[k]) : [ranked[0]];
  return {
    label: labels[ranked[0]],
    labels: given.map(k => labels[k]),
    probability: probabilities[ranked[0]],
    known: known_from === null ? null : Math.max(...likeness) >= known_from,
    top: ranked.slice(0, most).map(k => ({label: labels[k], probability: probabilities[k]})),
  };
}
