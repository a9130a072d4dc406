/** `Sun Nov 22 21:49:49 2026`, in local time, as ctime(3) prints it. */
export function printCtime(time: Date): string {
  const [weekday, month, day, year, clock] = time.toString().split(" ");
  return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${clock} ${year}`;
}
