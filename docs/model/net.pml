/*
 * The network and the misfortunes, shared by the models.
 *
 * A request is one bit: set while a copy is under way. It arrives at any later time, in any order with others. Who asks
 * again while the first question is still under way adds nothing that a doubled message does not: a request that was
 * taken may stay under way and arrive once more, however late.
 *
 * An answer is a bit as well: set until the asker acts on it. Meanwhile it may be under way or have been read: nobody
 * can tell. An answer that nobody waits for any more is dropped.
 */
#ifndef MISFORTUNES
#define MISFORTUNES 2 /* lost messages, doubled messages and crashes of whichever agent, together, in one run */
#endif

byte misfortunes = MISFORTUNES;

/* Lost when sent or lost on the way: nobody can tell either. */
#define SEND(request) if :: request = 1 :: misfortunes > 0 -> misfortunes-- fi
#ifdef NO_DUPLICATES
#define TAKE(request) request = 0
#else
#define TAKE(request) if :: request = 0 :: misfortunes > 0 -> misfortunes-- fi
#endif
#define ANSWER(isAwaited, answer) if :: isAwaited -> SEND(answer) :: else fi
/* Whether to ask (again): only when neither question nor answer is under way, so that every run has an end. */
#define QUIET(request, answer) (!request && !answer)
