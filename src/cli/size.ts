const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/**
 * Bytes in decimal units with so many significant digits: `4.26MB`, `13.3kB`, `0B`.
 * @see https://github.com/docker/go-units/blob/master/size.go (HumanSizeWithPrecision)
 */
export function humanSize(bytes: number, digits = 3): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < DECIMAL.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${significant(value, digits)}${DECIMAL[unit]}`;
}

/** Go's `%.<digits>g` for numbers of ordinary size. */
function significant(value: number, digits: number): string {
  const text = value.toPrecision(digits);
  if (text.includes('e')) {
    // %g changes to an exponent where it is not less than the precision: `1e+03`.
    return text.replace(/\.?0*e([+-])([0-9])$/, 'e$10$2');
  }
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
