/**
 * A time in UTC as RFC 3339 to the second, without zone: `2026-02-28T23:59:59`. By arithmetic: the first Date that is written
 * out has ICU look for the time zone, 0.2 ms.
 * @param seconds since 1970, not before
 */
export function utcSeconds(seconds: number): string {
  const { year, month, day } = civil(Math.floor(seconds / 86_400));
  const rest = Math.floor(seconds) % 86_400;
  const time = [Math.floor(rest / 3600), Math.floor(rest / 60) % 60, rest % 60].map(twoDigits).join(':');
  return `${String(year).padStart(4, '0')}-${twoDigits(month)}-${twoDigits(day)}T${time}`;
}

const twoDigits = (value: number): string => (value < 10 ? `0${value}` : String(value));

/**
 * The date of a day in the Gregorian calendar, in years that begin with March, so that the leap day is the last one.
 * @param days since 1970-01-01
 * @see https://howardhinnant.github.io/date_algorithms.html#civil_from_days
 */
function civil(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const leaps = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096);
  const yearOfEra = Math.floor((dayOfEra - leaps) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const day = dayOfYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}
