/*
 * One migration: a source, a target, PEERS peers. Agents crash between any two steps of theirs (each `atomic` is one),
 * messages are lost, doubled, late and out of order; a deadline may run out at any moment.
 *
 * Safety is asserted where it could break. For liveness every run must end (no cycle at all: pan -l, with no progress
 * label in the model) and end well (the assertion in `init`): that holds for every schedule, so no fairness is assumed.
 *
 * A BREAK_ switch breaks the protocol in one place: spin must find it.
 */
#ifndef PEERS
#define PEERS 1
#endif

#include "net.pml"

/* What exists, whoever knows of it: an agent's crash changes nothing here. */
mtype = { absent, stopped, running };
mtype original = running; /* at the source */
mtype copy = absent;      /* at the target */
#define liveCopies ((original == running) + (copy == running))

bit isOpen; /* what peers send reaches it */

mtype = { none, pending, held, translated };
mtype rule[PEERS] = none; /* a peer's data plane */
bit late[PEERS];          /* it has the rule of a flow that came after the plan */

/*
 * On disk. `forgotten` is what a source knows of a migration that is over for it: nothing. A tombstone is forgotten at any
 * time, since messages may be later than any.
 */
mtype = { nothing, started, released, retiring, aborted, forgotten };
mtype sourceDisk = nothing;
mtype = { waiting, restored, owner, allTold, givenUp };
mtype targetDisk = nothing;
mtype = { prepared, switched };
mtype peerDisk[PEERS] = nothing;

/* In memory. */
mtype = { idle, preparing, peering, holding, frozen, releasing, leaving, aborting, thawed };
mtype source = idle;
mtype = { restoring, unwritten, owning, discarding };
mtype target = nothing;
mtype = { dropping };
mtype peer[PEERS] = nothing;
bit isFlipping[PEERS];
mtype word[PEERS] = nothing; /* the source's, before the target is asked */

/* Under way. */
bit prepareTarget, prepareTargetOk, restore, restoreOk, restoreFailed, release, releaseOk, abortTarget;
bit switchedMessage, switchedOk;
bit preparePeer[PEERS], preparePeerOk[PEERS], hold[PEERS], holdOk[PEERS], difference[PEERS], differenceOk[PEERS];
bit abortPeer[PEERS], rsyn[PEERS], rsynOk[PEERS];

#if PEERS == 1
#define EACH(flag) flag[0]
#else
#define EACH(flag) (flag[0] && flag[1])
#endif

/* ------------------------------------------------------------------------------------------------ source */

inline sourceForgetsAnswers() {
  prepareTargetOk = 0; restoreOk = 0; restoreFailed = 0; releaseOk = 0;
  for (i : 0 .. PEERS - 1) { preparePeerOk[i] = 0; holdOk[i] = 0; differenceOk[i] = 0 }
}

proctype Source() {
  byte i;
end:
  do
  :: atomic { source == idle && sourceDisk == nothing -> sourceDisk = started; source = preparing }

  :: atomic { source == preparing && QUIET(prepareTarget, prepareTargetOk) -> SEND(prepareTarget) }
  :: atomic { source == preparing && prepareTargetOk -> source = peering }
  :: atomic { source == peering && EACH(preparePeerOk) -> source = holding }
  :: atomic { source == holding && EACH(holdOk) -> original = stopped; source = frozen }

  /* The target restores; beside it the peers get their differences. */
  :: atomic { source == frozen && QUIET(restore, restoreOk) && !restoreFailed -> SEND(restore) }
  :: atomic { source == frozen && restoreFailed -> source = aborting }
#ifdef BREAK_RELEASE_BEFORE_DIFFERENCE
  :: atomic { source == frozen && restoreOk -> source = releasing }
#else
  :: atomic { source == frozen && restoreOk && EACH(differenceOk) -> source = releasing }
#endif

  /* Written down, then sent. */
#ifdef BREAK_SEND_BEFORE_WRITE
  :: atomic { source == releasing && QUIET(release, releaseOk) -> SEND(release) }
#endif
  :: atomic { source == releasing -> sourceDisk = released; source = released }
  :: atomic { source == released && QUIET(release, releaseOk) -> SEND(release) }
#ifdef BREAK_FORGET_RELEASE
  :: atomic { source == released && release -> original = absent; sourceDisk = forgotten; source = forgotten }
#endif

  /* That it retires is written down before the answer: nobody would tell again. */
#ifdef BREAK_ANSWER_BEFORE_WRITTEN
  :: atomic { source == released && switchedMessage ->
       TAKE(switchedMessage); source = leaving; ANSWER(target == owner, switchedOk) }
  :: atomic { source == leaving -> sourceDisk = retiring; source = retiring }
#else
  :: atomic { source == released && switchedMessage -> TAKE(switchedMessage); source = leaving }
  :: atomic { source == leaving -> sourceDisk = retiring; source = retiring; ANSWER(target == owner, switchedOk) }
#endif
  :: atomic { (source == retiring || source == forgotten) && switchedMessage ->
       TAKE(switchedMessage); ANSWER(target == owner, switchedOk) }
  :: atomic { source == retiring && original == stopped -> original = absent }
  :: atomic { source == retiring && original == absent -> sourceDisk = forgotten; source = forgotten }

  /* Rollback, by a deadline or somebody's wish: thaw first, write it down, then tell. */
  :: atomic { source == preparing || source == peering || source == holding || source == frozen -> source = aborting }
#ifdef BREAK_THAW_AFTER_RELEASED
  :: atomic { source == released -> source = aborting }
#endif
  :: atomic { source == aborting ->
       if :: original == stopped -> original = running :: else fi;
       assert(liveCopies <= 1);
       source = thawed }
  :: atomic { source == thawed ->
       sourceDisk = aborted; source = aborted;
       /* Whether they can be told or not: nothing may depend on it. */
       if :: SEND(abortTarget) :: true fi;
       for (i : 0 .. PEERS - 1) { if :: SEND(abortPeer[i]) :: true fi };
       sourceForgetsAnswers() }
  :: atomic { source == aborted -> sourceDisk = forgotten; source = forgotten }

  :: atomic { misfortunes > 0 && source != idle && source != forgotten ->
       misfortunes--;
       sourceForgetsAnswers();
       if :: true :: target == owner && switchedOk -> switchedOk = 0 fi;
       if :: sourceDisk == started -> source = aborting :: else -> source = sourceDisk fi }
  od
}

/* The source's talk with one peer. */
proctype SourceToPeer(byte i) {
end:
  do
  :: atomic { source == peering && QUIET(preparePeer[i], preparePeerOk[i]) -> SEND(preparePeer[i]) }
  :: atomic { source == holding && QUIET(hold[i], holdOk[i]) -> SEND(hold[i]) }
  :: atomic { source == frozen && QUIET(difference[i], differenceOk[i]) -> SEND(difference[i]) }
  od
}

/*
 * `outcome`. Its question changes nothing, its answers stay true for ever (see README.md), who gets none asks again:
 * so question and answer are one step here, taken whenever there is a word. `undecided` is no step at all.
 */
#define sourceSaysReleased (sourceDisk == released || sourceDisk == retiring)
#define sourceSaysAborted (sourceDisk == aborted)
#define sourceSaysUnknown (sourceDisk == forgotten)

/* ------------------------------------------------------------------------------------------------ target */

#define isOwner (target == owning || target == owner || target == allTold)
inline targetDiscards() { assert(copy != running); copy = absent; target = discarding }

proctype Target() {
  byte i;
end:
  do
  :: atomic { prepareTarget -> TAKE(prepareTarget);
       if
       :: target == nothing -> targetDisk = waiting; target = waiting; ANSWER(source == preparing, prepareTargetOk)
       :: target == discarding || target == givenUp /* refused */
       :: else -> ANSWER(source == preparing, prepareTargetOk)
       fi }

  /* Who asks again while it is being done waits for the same answer. */
  :: atomic { restore && target != restoring && target != unwritten && target != discarding -> TAKE(restore);
       if
       :: target == waiting -> target = restoring
       :: target == restored -> ANSWER(source == frozen, restoreOk)
       :: target == nothing || target == givenUp -> ANSWER(source == frozen, restoreFailed)
       :: else /* late */
       fi }
  :: atomic { target == restoring -> copy = stopped; target = unwritten }
  :: atomic { target == restoring -> targetDiscards(); ANSWER(source == frozen, restoreFailed) }
  :: atomic { target == unwritten ->
#ifndef BREAK_FORGET_RESTORED
       targetDisk = restored;
#endif
       target = restored; ANSWER(source == frozen, restoreOk) }

  :: atomic { release && target != owning -> TAKE(release);
       assert(target == restored || isOwner);
       if
       :: target == restored -> target = owning
       :: else -> ANSWER(source == released, releaseOk)
       fi }
#ifdef BREAK_RESUME_WITHOUT_RELEASE
  :: atomic { target == restored -> copy = running; assert(liveCopies <= 1) }
#endif
  :: atomic { isOwner && !isOpen -> isOpen = 1 }
  :: atomic { target == owning -> targetDisk = owner; target = owner; ANSWER(source == released, releaseOk) }
  :: atomic { target == owner && isOpen && copy == stopped -> copy = running; assert(liveCopies <= 1) }

  /* With all peers told or without some that don't answer: at any time. */
  :: atomic { target == owner && copy == running && QUIET(switchedMessage, switchedOk) -> SEND(switchedMessage) }
  :: atomic { target == owner && switchedOk && EACH(rsynOk) -> targetDisk = allTold; target = allTold }

  /* A target that stands and hears nothing asks. */
#ifndef BREAK_TARGET_NEVER_ASKS
  :: atomic { target == restored && sourceSaysReleased -> target = owning }
  :: atomic { (target == waiting || target == restored) && (sourceSaysAborted || sourceSaysUnknown) -> targetDiscards() }
#endif
  :: atomic { abortTarget -> TAKE(abortTarget);
       assert(!isOwner);
       if :: target == nothing -> target = givenUp /* in memory only */ :: else -> targetDiscards() fi }
  :: atomic { target == discarding -> targetDisk = givenUp; target = givenUp }
  :: atomic { target == givenUp -> targetDisk = nothing; target = nothing }

  :: atomic { misfortunes > 0 && target != nothing && target != allTold ->
       misfortunes--;
       switchedOk = 0;
       for (i : 0 .. PEERS - 1) { rsynOk[i] = 0 };
       if
       :: true
       :: source == preparing && prepareTargetOk -> prepareTargetOk = 0
       :: source == frozen && (restoreOk || restoreFailed) -> restoreOk = 0; restoreFailed = 0
       :: source == released && releaseOk -> releaseOk = 0
       fi;
       if :: targetDisk == waiting -> copy = absent /* half restored: killed */ :: else fi;
       target = targetDisk }
  od
}

/* While it is written down as well: the source's word is durable. */
#define isTelling (target == owning || target == owner)

/* The target's talk with one peer. */
proctype TargetToPeer(byte i) {
end:
  do
#ifdef BREAK_RSYN_BEFORE_OPEN
  :: atomic { isTelling && QUIET(rsyn[i], rsynOk[i]) -> SEND(rsyn[i]) }
#else
  :: atomic { isTelling && isOpen && QUIET(rsyn[i], rsynOk[i]) -> SEND(rsyn[i]) }
#endif
  od
}

#define targetSaysReleased (isTelling && isOpen || target == allTold)
#define targetSaysAborted (target == discarding || target == givenUp)
#define targetSaysUnknown (target == nothing)

/* ------------------------------------------------------------------------------------------------ peer */

#define isPrepared(i) (peer[i] == prepared)
#define wasReleased (sourceSaysReleased || targetDisk == owner || targetDisk == allTold)

/* All rules of the migration at once. No flow moves before the word is durable, and none is dropped after it. */
inline peerFlips() { assert(wasReleased); isFlipping[i] = 1; word[i] = nothing }
inline peerDrops() { assert(!wasReleased); peer[i] = dropping; word[i] = nothing }

proctype Peer(byte i) {
end:
  do
  :: atomic { preparePeer[i] -> TAKE(preparePeer[i]);
       if
       :: peer[i] == nothing ->
          peerDisk[i] = prepared; peer[i] = prepared; rule[i] = pending; ANSWER(source == peering, preparePeerOk[i])
       :: peer[i] == dropping || peer[i] == givenUp /* refused */
       :: else -> ANSWER(source == peering, preparePeerOk[i])
       fi }
  :: atomic { hold[i] -> TAKE(hold[i]);
       if
       :: isPrepared(i) && !isFlipping[i] -> rule[i] = held; ANSWER(source == holding, holdOk[i])
#ifdef BREAK_HOLD_WHILE_FLIPPING
       :: isFlipping[i] -> peer[i] = switched; peerDisk[i] = switched; rule[i] = held; isFlipping[i] = 0
#endif
#ifdef BREAK_HOLD_AFTER_SWITCH
       :: peer[i] == switched -> rule[i] = held
#endif
       :: else /* refused: late */
       fi }
  :: atomic { difference[i] -> TAKE(difference[i]);
       if
       :: isPrepared(i) && !isFlipping[i] -> rule[i] = held; late[i] = 1; ANSWER(source == frozen, differenceOk[i])
       :: else /* refused: late */
       fi }

  /* Switched: flipped, written down, and only then answered. */
  :: atomic { rsyn[i] && !isFlipping[i] -> TAKE(rsyn[i]);
       assert(isPrepared(i) || peer[i] == switched);
       if
       :: isPrepared(i) -> peerFlips()
       :: else -> ANSWER(isTelling, rsynOk[i])
       fi }
  :: atomic { isFlipping[i] && rule[i] != translated -> rule[i] = translated; assert(isOpen) /* or the replay is lost */ }
  :: atomic { isFlipping[i] && rule[i] == translated ->
       isFlipping[i] = 0; peerDisk[i] = switched; peer[i] = switched; ANSWER(isTelling, rsynOk[i]) }

  /* The deadline: let go, then ask. It runs from prepare on: who is never asked to hold asks as well. */
#ifndef BREAK_NO_DEADLINE
  :: atomic { rule[i] == held && !isFlipping[i] -> rule[i] = pending }
#endif
#ifdef BREAK_ONLY_HELD_ASK
#define asks(i) (isPrepared(i) && !isFlipping[i] && rule[i] != held && holdOk[i])
#else
#define asks(i) (isPrepared(i) && !isFlipping[i] && rule[i] != held)
#endif
  :: atomic { asks(i) && sourceSaysAborted -> peerDrops() }
  /* The source's `unknown` may mean given up or long over. The target knows: it keeps its record until all are told. */
#ifdef BREAK_UNKNOWN_IS_GIVEN_UP
  :: atomic { asks(i) && sourceSaysUnknown -> peerDrops() }
#else
  :: atomic { asks(i) && sourceSaysUnknown && word[i] != forgotten -> word[i] = forgotten }
#endif
  :: atomic { asks(i) && sourceSaysReleased && word[i] == nothing -> word[i] = released }
  :: atomic { asks(i) && word[i] != nothing && targetSaysReleased -> peerFlips() }
  :: atomic { asks(i) && word[i] != nothing && targetSaysAborted -> peerDrops() }
  :: atomic { asks(i) && word[i] == forgotten && targetSaysUnknown -> peerDrops() }

  :: atomic { abortPeer[i] -> TAKE(abortPeer[i]);
       assert(peer[i] != switched && !isFlipping[i]);
       if
       :: peer[i] == nothing -> peer[i] = givenUp /* in memory only */
       :: isPrepared(i) -> peerDrops()
       :: else
       fi }
  :: atomic { peer[i] == dropping && rule[i] != none -> rule[i] = none; late[i] = 0 }
  :: atomic { peer[i] == dropping && rule[i] == none -> peerDisk[i] = givenUp; peer[i] = givenUp }
  :: atomic { peer[i] == givenUp -> peerDisk[i] = nothing; peer[i] = nothing }

  :: atomic { misfortunes > 0 && peer[i] != nothing ->
       misfortunes--;
       isFlipping[i] = 0; word[i] = nothing;
       if
       :: true
       :: source == peering && preparePeerOk[i] -> preparePeerOk[i] = 0
       :: source == holding && holdOk[i] -> holdOk[i] = 0
       :: source == frozen && differenceOk[i] -> differenceOk[i] = 0
       :: isTelling && rsynOk[i] -> rsynOk[i] = 0
       fi;
       peer[i] = peerDisk[i] }
  od
}

/* ------------------------------------------------------------------------------------------------ the end */

init {
  byte i;
  atomic {
    run Source(); run Target();
    for (i : 0 .. PEERS - 1) { run SourceToPeer(i); run TargetToPeer(i); run Peer(i) }
  };
  atomic { timeout ->
    assert(sourceDisk == forgotten);
    if
    :: copy == running ->
       assert(original == absent && targetDisk == allTold);
       for (i : 0 .. PEERS - 1) { assert(peerDisk[i] == switched && rule[i] == translated && late[i]) }
    :: else ->
       assert(original == running && copy == absent && targetDisk == nothing);
       for (i : 0 .. PEERS - 1) { assert(peerDisk[i] == nothing && rule[i] == none && !late[i]) }
    fi }
}
