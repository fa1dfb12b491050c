/*
 * Both ends of a flow move at once: two migrations, 0 (the lower id) and 1. Workload X moves from its old to its new
 * place; the other end of its flow is workload Y. Each host's agent is source of its own workload's migration and peer of
 * the other's, and answers a hold by what its own migration does.
 *
 * What move.pml shows is taken for granted here: a frozen workload is released or given up, and a released one comes up at
 * its new place. What counts here: nobody freezes with a plan that is wrong, no RSYN misses its flow (assertions); both get
 * through (ltl, under weak fairness: each agent goes on for ever, nothing more).
 *
 * LATE is how often a step outlasts its deadline, GIVE_UPS how many migrations are given up (by a failure, a deadline or
 * a killed agent, which is peer of the other migration too).
 */
#include "net.pml"

#ifndef LATE
#define LATE 1
#endif
#ifndef GIVE_UPS
#define GIVE_UPS 0
#endif
byte lateness = LATE;
byte giveUps = GIVE_UPS;

#define other(x) (1 - x)

mtype = { planning, telling, holding, backing, frozen, released, retired, aborted };
mtype phase[2] = planning;
bit hasMoved[2];  /* the workload runs at its new place */
bit view[2];      /* where the rules at x's host say that the other end is: 0 old place, 1 new one */
bit planned[2];   /* the view that was planned with; requests to the peer go to that place */
bit carried[2];   /* the view that the target's rules were made with */
bit isStale[2];   /* the other end's move has got on since the plan */

/* The record that the other workload's host keeps as peer of migration x. `held` after a restart: it may have been. */
mtype = { none, prepared, held, switched, dropped };
mtype peer[2] = none;
bit isAsking[2];  /* it waited for too long, or was restarted */
bit wasHeld[2];   /* since the last unhold */
bit isTold[2];    /* by the RSYN */

bit prepare[2], prepareOk[2], hold[2], holdOk[2], holdNo[2], unhold[2], unholdOk[2], wantsUnhold[2], rsyn[2], rsynOk[2];
bit oldHold[2];   /* of an earlier round, still under way */

#define isAfter(x) (phase[x] == frozen || phase[x] == released)
#define isOnItsWay(x) (isAfter(x) && !hasMoved[x])
#define isOver(x) (phase[x] == retired || phase[x] == aborted)
#define isBefore(x) (phase[x] == planning || phase[x] == telling || phase[x] == backing)
/* The place that migration x's peer requests go to is where the other workload is; or was, and has left. */
#define isHere(x) (planned[x] == hasMoved[other(x)])
#define isGone(x) (!planned[x] && phase[other(x)] == retired)

/* Whoever's flow is held waits before it holds itself. This spares rounds; the answers to the holds suffice. */
#if defined(WITHOUT_WAIT) || defined(BREAK_FROZEN_HOLDS)
#define locks(x) false
#else
#ifdef BREAK_PREPARED_LOCKS
#define locks(x) (peer[x] == held || (peer[x] == prepared && isAsking[x]))
#else
#define locks(x) (peer[x] == held || (peer[x] == prepared && isAsking[x] && wasHeld[x]))
#endif
#endif

inline backOff(who) {
  holdOk[who] = 0; holdNo[who] = 0;
  oldHold[who] = oldHold[who] || hold[who]; hold[who] = 0;
  wantsUnhold[who] = 1; unholdOk[who] = 0;
  phase[who] = backing
}

proctype Source(bit x) {
end:
  do
  :: atomic { phase[x] == planning ->
#ifdef BREAK_NO_NEW_PLAN
       if :: planned[x] == view[x] :: else fi;
#else
       if
       :: planned[x] != view[x] ->
          /* Another node: nothing was said to it yet, and what is under way to the old one finds nobody. */
          planned[x] = view[x]; prepare[x] = 0; prepareOk[x] = 0; oldHold[x] = 0; unhold[x] = 0; wantsUnhold[x] = 0
       :: else
       fi;
#endif
       isStale[x] = 0; phase[x] = telling }
  :: atomic { phase[x] == telling && prepareOk[x] ->
       if
       :: isStale[x] || locks(other(x)) -> phase[x] = backing
       :: else -> phase[x] = holding; wantsUnhold[x] = 0
       fi }

  :: atomic { phase[x] == holding && holdNo[x] -> backOff(x) }
  :: atomic { phase[x] == holding && lateness > 0 -> lateness--; backOff(x) }
  :: atomic { phase[x] == holding && holdOk[x] ->
       holdOk[x] = 0; phase[x] = frozen; carried[x] = planned[x];
       assert(!isOnItsWay(other(x)));
       assert(planned[x] == view[x] && view[x] == hasMoved[other(x)]) }

  :: atomic { phase[x] == backing -> phase[x] = planning }

  :: atomic { phase[x] == frozen -> phase[x] = released }
  :: atomic { phase[x] == released && hasMoved[x] -> phase[x] = retired /* some peers may not know yet */ }

#if GIVE_UPS > 0
  /* Given up; where the agent was killed, it is restarted as peer of the other migration, too. */
  :: atomic { !isOver(x) && phase[x] != released && giveUps > 0 ->
       giveUps--;
       phase[x] = aborted; holdOk[x] = 0; holdNo[x] = 0; prepareOk[x] = 0; wantsUnhold[x] = 0; unholdOk[x] = 0;
       if
       :: true
       :: peer[other(x)] == prepared || peer[other(x)] == held ->
          peer[other(x)] = held; isAsking[other(x)] = 1; wasHeld[other(x)] = 1;
          /* What it had just answered may be lost. */
          if :: true :: phase[other(x)] == holding -> holdOk[other(x)] = 0 fi
       fi }
#endif
  od
}

/* The source's talk with its peer: it asks again whatever else the source does. */
proctype SourceToPeer(bit x) {
end:
  do
  :: atomic { phase[x] == telling && QUIET(prepare[x], prepareOk[x]) -> SEND(prepare[x]) }
  :: atomic { phase[x] == holding && QUIET(hold[x], holdOk[x]) && !holdNo[x] -> SEND(hold[x]) }
  :: atomic { wantsUnhold[x] && QUIET(unhold[x], unholdOk[x]) -> SEND(unhold[x]) }
  :: atomic { unholdOk[x] -> unholdOk[x] = 0; wantsUnhold[x] = 0 }
  od
}

proctype Target(bit x) {
end:
  do
  /* A new place, a new host: it is no peer of the other migration yet. */
  :: atomic { phase[x] == released && !hasMoved[x] ->
       hasMoved[x] = 1; view[x] = carried[x];
       peer[other(x)] = none; isAsking[other(x)] = 0; wasHeld[other(x)] = 0 }
  :: atomic { hasMoved[x] && QUIET(rsyn[x], rsynOk[x]) -> SEND(rsyn[x]) }
  od
}

inline takeHold(isCurrent) {
  if
#ifdef BREAK_NO_LOCK
  :: isGone(x) ->
#else
#ifdef BREAK_FROZEN_HOLDS
  :: isGone(x) || (!planned[x] && phase[other(x)] == holding && other(x) < x) ->
#else
#ifdef BREAK_NO_ORDER
  :: isGone(x) || (!planned[x] && (isAfter(other(x)) || phase[other(x)] == holding)) ->
#else
  :: isGone(x) || (!planned[x] && (isAfter(other(x)) || (phase[other(x)] == holding && other(x) < x))) ->
#endif
#endif
#endif
     if :: isCurrent && phase[x] == holding -> SEND(holdNo[x]) :: else fi
  :: else ->
     if
     :: peer[x] == prepared || peer[x] == held ->
        peer[x] = held; isAsking[x] = 0; wasHeld[x] = 1;
        if :: !planned[x] && phase[other(x)] == holding -> backOff(other(x)) :: else fi;
        if :: isBefore(other(x)) -> isStale[other(x)] = 1 :: else fi;
        if :: isCurrent && phase[x] == holding -> SEND(holdOk[x]) :: else fi
     :: else /* over here: late */
     fi
  fi
}

/* Peer of migration x: the agent where the other workload is. */
proctype Peer(bit x) {
end:
  do
  :: atomic { prepare[x] -> TAKE(prepare[x]);
       if
       :: isHere(x) && peer[x] == none -> peer[x] = prepared; isAsking[x] = 0; wasHeld[x] = 0
       :: else /* known, or nobody here has that address: the hold will tell */
       fi;
       ANSWER(phase[x] == telling, prepareOk[x]) }
  /* The number that each request bears makes late ones harmless: what is older than what was heard is not done. */
  :: atomic { hold[x] -> TAKE(hold[x]); oldHold[x] = 0; unhold[x] = 0; takeHold(true) }
  :: atomic { oldHold[x] -> oldHold[x] = 0; takeHold(false) }
  :: atomic { unhold[x] -> TAKE(unhold[x]); oldHold[x] = 0;
       if :: peer[x] == held -> peer[x] = prepared :: else fi;
       isAsking[x] = 0; wasHeld[x] = 0;
       ANSWER(wantsUnhold[x], unholdOk[x]) }

  :: atomic { (peer[x] == prepared || peer[x] == held) && !isAsking[x] ->
       isAsking[x] = 1; peer[x] = prepared }
#if GIVE_UPS > 0
  /* After a restart it counts as held. */
  :: atomic { peer[x] == held && isAsking[x] -> peer[x] = prepared }
  :: atomic { (peer[x] == prepared || peer[x] == held) && phase[x] == aborted -> peer[x] = dropped; isAsking[x] = 0 }
#endif

  :: atomic { rsyn[x] -> TAKE(rsyn[x]);
       if
       :: isTold[x] /* late */
       :: else ->
          assert(isHere(x) && !isOnItsWay(other(x)));
          assert(peer[x] == prepared || peer[x] == held);
          isTold[x] = 1; peer[x] = switched; isAsking[x] = 0; view[other(x)] = 1
       fi;
       if :: isBefore(other(x)) -> isStale[other(x)] = 1 :: else fi;
       ANSWER(true, rsynOk[x]) }
  od
}

#define isSettled(x) (isOver(x) && view[x] == hasMoved[other(x)] && peer[x] != prepared && peer[x] != held)
#if GIVE_UPS == 0
#define isWell (isSettled(0) && isSettled(1) && hasMoved[0] && hasMoved[1])
#else
#define isWell (isSettled(0) && isSettled(1))
#endif
ltl both { <> isWell }

init {
  atomic {
    run Source(0); run Source(1); run SourceToPeer(0); run SourceToPeer(1);
    run Target(0); run Target(1); run Peer(0); run Peer(1)
  }
}
