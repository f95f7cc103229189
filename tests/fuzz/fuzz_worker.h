/* fuzz_worker.h - worker.h without processes: what children answer is the input's doing.
 *
 * Linked in front of the core, these functions take the place of worker.c's. A request is answered as a good child would, but for what the
 * script says. A line of it: `OP ANSWER` is for the next request OP that no line before it is for, `OP* ANSWER` for all. An answer is a JSON
 * object, whose members take the place of the good answer's; or one of `died`, `hung`, `lost`; anything else is garbage, of which a child
 * dies. OP `quad` are the progress messages of a session. A request to a contestant is named by its first word, and the answer is a line. */
#ifndef FUZZ_WORKER_H
#define FUZZ_WORKER_H

#include <stddef.h>

/* Borrowed until the next call. After `most` requests the loop says that it was interrupted. */
void fuzz_worker_script(const char *text, int most);

#endif
