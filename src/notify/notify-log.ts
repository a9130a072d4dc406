/** Where notifications tell of themselves. */
export interface NotifyLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}
