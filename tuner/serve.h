/* serve.h - the worker process: reads requests on WIRE_FD, does the risky work, answers. It owns all GPU libraries and may die of
 * any of it; the supervisor draws the conclusions.
 *
 * Requests ("op") and their answers; every final answer has "done": true, messages without it renew the deadline:
 *   targets                                          all devices, and notes on what is missing
 *   arch      arch                                   the target of an architecture without a device
 *   compile   target, key, entry, options, headers   source from the cache, binary into the cache; fate OK | COMPILE, log
 *   open      target                                 the device, after its canary; environment facts
 *   evaluate  problem, kernel, [reference, rule], [time]   fate; report; samples
 *   session   problem, bench, a, b, quads, m ...     one progress message a quad
 *   draw      problem, seed, folder                  the plain inputs of a check as files
 *   judge     problem, reference, rule, folder       the output that something else left in the folder; fate, report
 *   oracle    problem, kernel, debug, tile, inputs, seed, folder   both builds run, what the second shows as files; fate, report
 *   meet      problem, bench, kernel, folder         opens a session of one arm, its inputs as files; then, in any order:
 *   warm      seconds                                until the arm is steady
 *   letter    m                                      samples of it
 *   health                                           a reading
 *   verify                                           does the arm still give what it gave before timing?
 * An answer with "error" is a fault of the machine or of fatune; one with "leave" is the worker's last. kernel, debug, reference, a, b:
 * {"key", "launch"}. folder: the name of one in the folder of binaries; files q, k, v, o of dtype words. */
#ifndef SERVE_H
#define SERVE_H

/* Never returns to the caller's business: the process's exit code. */
int serve_main(void);

#endif
