// SPDX-License-Identifier: MIT
// Which acquisition is granted, as a model: declared sets and transactions that lock buffers of one domain, for reading or writing, with
// leases, cancellation and changes of a hold. All of it is searched: every table of requests, every order of events.
//
// What is one critical section of the library (include/dmasync/detail/policy/admission.hpp and its neighbours) is one d_step
// here, and carries its name. README.md maps rules and properties to lines, and says what is left out.
//
// A set of acquisitions or of buffers is a mask. A queue ordered by ticket *is* the set of its members (R5): in front of
// an acquisition are those that are older. What is defined as DROP_..., WEAKEN_... or FORGET_... breaks a rule, to see
// that the search finds out.

#ifndef ACQUISITIONS
#define ACQUISITIONS 3
#endif
#ifndef BUFFERS
#define BUFFERS 2
#endif
#ifndef EVENTS
#define EVENTS 1 // how many ends of leases, cancellations and changes of a hold there may be in one run, at most
#endif
#ifndef SETS
#define SETS 1 // whether there are declared sets, and
#endif
#ifndef TRANSACTIONS
#define TRANSACTIONS 1 // whether there are transactions
#endif

#define one(i) (1 << (i))
#define has(mask, i) (((mask) >> (i)) & 1)

// An assertion is reported with its text, so it names its property. These are never set.
hidden byte S1_one_writer_or_readers, S2_all_or_nothing, S3_stale_token, S4_complete_is_final, S5_one_outcome,
    S6_tickets_differ, S7_late_unlock, S8_waits_for_older, L1_nobody_forgotten, L2_quiescence;

#ifdef WITNESSES
// Says once that the search has come by here: what is verified does happen.
#define witness(event) c_code { static int seen; if (!seen++) { puts("witness: " #event); fflush(stdout); } }
#else
#define witness(event) skip
#endif

// ---- Buffers: masks of acquisitions ---------------------------------------------------------------------------------

byte readers[BUFFERS], writers[BUFFERS];                 // holders
byte waiting_readers[BUFFERS], waiting_writers[BUFFERS]; // the two queues
byte accepted[BUFFERS]; // whose token equals the buffer's sequence: all that a number is compared for that only grows

// ---- Acquisitions ---------------------------------------------------------------------------------------------------

// Masks of buffers:
byte want_r[ACQUISITIONS], want_w[ACQUISITIONS]; // the table of requests; a transaction discovers it
byte step_r[ACQUISITIONS], step_w[ACQUISITIONS]; // what its lock asks for, or asked for when it was wounded
byte hold_r[ACQUISITIONS], hold_w[ACQUISITIONS]; // what its guard names; that may have expired

mtype = {
    not_begun,
    running,      // a transaction outside of its locks. It hears of wounds and of its lease's end when it goes on
    waits,        // in the queues
    must_restart, // its lock has answered `wounded`; it holds what it has until it gives it back
    restarting,   // has given back, and knows what it was waiting for when it was wounded
    waits_again,  // in the queues for that, and holds nothing
    waited_again, // has been granted that, and will give it back
    giving_up,    // a transaction whose wait was cancelled: it goes on, or gives up
    holding,      // complete
    over
};
mtype phase[ACQUISITIONS] = not_begun;

byte is_transaction, has_ticket, waiting, wounded, complete, expired; // masks of acquisitions
#ifdef REMEMBER_RETRIES
byte retried;
#endif
byte started, ended; // how many have, the latter for good
byte events;         // how many there may still be

// Ages. All acquisitions are alike, so that runs differ only in names when they differ only in which one begins first;
// it suffices to look at those where they begin in the order of their numbers. A transaction draws its ticket when it
// begins, a set when it begins and has to wait: tickets are ordered as numbers are, and S6 is checked at every draw.
#ifdef STREAM
// The last two begin anew whenever they are over: there is no end of newcomers. They begin in any order here.
#ifndef NEW_TRANSACTIONS
#define NEW_TRANSACTIONS 1 // whether newcomers can be transactions
#endif
#define is_newcomer(i) ((i) >= ACQUISITIONS - 2)
byte elders[ACQUISITIONS]; // those that had begun when it began, and are not over
#define elders(i) elders[i]
#define may_begin (phase[me] == not_begun)
#define may_be_transaction (NEW_TRANSACTIONS || !is_newcomer(me))
#else
#define elders(i) (one(i) - 1)
#define may_begin (phase[me] == not_begun && started == me)
#define may_be_transaction true
#endif

#ifdef DROP_R5
byte ahead[ACQUISITIONS]; // those that waited when it began to wait
#define in_front(i) (has(waiting, i) -> ahead[i] : waiting)
#else
#define in_front(i) elders(i)
#endif

#define holds(i) ((hold_r[i] | hold_w[i]) != 0 && !has(expired, i))
#define holders_against(i, b) \
    (has(step_w[i], b) -> (readers[b] | writers[b]) : (has(step_r[i], b) -> writers[b] : 0))
#define queued_against(i, b) \
    (has(step_w[i], b) -> (waiting_readers[b] | waiting_writers[b]) : (has(step_r[i], b) -> waiting_writers[b] : 0))
#ifdef DROP_R2
#define obstacles(i, b) holders_against(i, b)
#else
#define obstacles(i, b) (holders_against(i, b) | (queued_against(i, b) & in_front(i))) // R2
#endif

// ---- Within one critical section ------------------------------------------------------------------------------------

hidden byte m, n, k, j, f, x, blocked;
hidden byte left_r, left_w; // buffers that a reader, or a writer, has left: what waited for that is considered
hidden byte candidates;     // to be considered
hidden byte hurt;           // wounded in this step, and not yet dealt with

inline first_of(mask, i) {
    i = 0;
    do
    :: has(mask, i) -> break
    :: else -> i++
    od
}

// Exactly one of three ends a wait.
inline tell(i, answer) {
    assert(S5_one_outcome || phase[i] == waits || phase[i] == waits_again);
    phase[i] = answer
}

#ifdef STREAM
#ifdef DROP_TICKET
#define IS_YOUNG_AGAIN true
#else
#define IS_YOUNG_AGAIN false
#endif
inline forget_age(i) {
    elders[i] = 0;
    m = 0;
    do
    :: m == ACQUISITIONS -> break
    :: else -> elders[m] = elders[m] & ~one(i); m++
    od
}

inline become_youngest(i) {
    forget_age(i);
    m = 0;
    do
    :: m == ACQUISITIONS -> break
    :: m < ACQUISITIONS && m != i && phase[m] != not_begun && phase[m] != over ->
        elders[i] = elders[i] | one(m);
        m++
    :: else -> m++
    od
}
#endif

inline draw_ticket(i) {
    assert(S6_tickets_differ || (has_ticket & ~elders(i)) == 0);
    has_ticket = has_ticket | one(i)
}

inline enqueue(i) {
#ifdef DROP_R5
    ahead[i] = waiting;
#endif
    waiting = waiting | one(i);
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        waiting_readers[m] = waiting_readers[m] | (has(step_r[i], m) << i);
        waiting_writers[m] = waiting_writers[m] | (has(step_w[i], m) << i);
        m++
    od
}

inline leave_queues(i) {
    waiting = waiting & ~one(i);
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        waiting_readers[m] = waiting_readers[m] & ~one(i);
        waiting_writers[m] = waiting_writers[m] & ~one(i);
        m++
    od;
#ifdef DROP_R5
    ahead[i] = 0;
    m = 0;
    do
    :: m == ACQUISITIONS -> break
    :: else -> ahead[m] = ahead[m] & ~one(i); m++
    od
#endif
}

inline withdraw(i) {
    leave_queues(i);
    left_r = left_r | step_r[i];
    left_w = left_w | step_w[i]
}

// Wound-wait: i has begun to wait.
inline wound_younger_holders(i) {
    x = 0;
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else -> x = x | holders_against(i, m); m++
    od;
#ifdef DROP_R4_LATE_WOUND
    x = x & ~elders(i) & ~wounded;
#else
    x = x & is_transaction & ~complete & ~elders(i) & ~wounded;
#endif
    assert(S4_complete_is_final || (x & complete) == 0);
    wounded = wounded | x;
    hurt = hurt | x
}

// Wait-die: i has begun to wait, or has been granted buffers and is not complete.
inline kill_younger_waiters(i) {
    x = 0;
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else -> x = x | queued_against(i, m); m++
    od;
    x = x & is_transaction & ~elders(i) & ~one(i) & ~wounded;
    m = 0;
    do
    :: m == ACQUISITIONS -> break
    :: else -> x = x & ~(holds(m) -> 0 : one(m)); m++
    od;
    wounded = wounded | x;
    hurt = hurt | x
}

inline have_others_give_way(i) {
#ifdef WAIT_DIE
#ifdef DROP_DEATH_AT_ENQUEUE
    skip
#else
    kill_younger_waiters(i);
    if
    :: x != 0 -> witness(an_older_waiter_kills_a_waiter)
    :: else -> skip
    fi
#endif
#else
#if defined(DROP_R1)
    skip
#elif defined(WEAKEN_R1)
    if
    :: holds(i) -> wound_younger_holders(i)
    :: else -> skip
    fi
#else
    wound_younger_holders(i) // R1
#endif
#endif
}

// Comes after R2 in each place, so that nothing is left for R3 to check.
inline grant(i) {
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        if
        :: has(step_w[i], m) -> writers[m] = writers[m] | one(i); accepted[m] = one(i) // the sequence grows
        :: has(step_r[i], m) -> readers[m] = readers[m] | one(i); accepted[m] = accepted[m] | one(i)
        :: else -> skip
        fi;
        m++
    od;
    hold_r[i] = hold_r[i] | step_r[i];
    hold_w[i] = hold_w[i] | step_w[i];
    if
    :: !has(is_transaction, i) -> complete = complete | one(i)
    :: else ->
#if defined(WAIT_DIE) && !defined(DROP_DEATH_AT_GRANT)
        kill_younger_waiters(i);
        if
        :: x != 0 -> witness(a_grant_kills_a_waiter)
        :: else -> skip
        fi
#else
        skip
#endif
    fi;
    step_r[i] = 0;
    step_w[i] = 0
}

inline look_for_obstacles(i) {
    blocked = 0;
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else -> blocked = blocked | obstacles(i, m); m++
    od
}

inline consider(i) {
    look_for_obstacles(i);
    if
    :: blocked == 0 ->
        leave_queues(i);
        grant(i);
        tell(i, (phase[i] == waits_again -> waited_again : (has(is_transaction, i) -> running : holding)))
    :: else -> skip
    fi
}

// The fronts of the queues of buffer b, from which an acquisition has gone: those that may have been waiting for that.
inline promote(b) {
    if
    :: writers[b] != 0 -> skip
    :: else ->
        f = 0; // the first waiting writer
        do
        :: f == ACQUISITIONS -> break
        :: f < ACQUISITIONS && has(waiting_writers[b], f) && (waiting_writers[b] & in_front(f)) == 0 -> break
        :: else -> f++
        od;
        if
#ifdef FORGET_READERS
        :: true -> candidates = (f == ACQUISITIONS -> 0 : one(f))
#else
        :: f == ACQUISITIONS -> candidates = (has(left_w, b) -> waiting_readers[b] : 0)
#endif
#ifdef DROP_R2
        :: f < ACQUISITIONS -> candidates = waiting_readers[b] | waiting_writers[b]
#elif !defined(FORGET_READERS)
        :: f < ACQUISITIONS -> candidates = one(f) | (has(left_w, b) -> (waiting_readers[b] & in_front(f)) : 0)
#endif
        fi
    fi;
    left_r = left_r & ~one(b);
    left_w = left_w & ~one(b)
}

// What follows from a step, within it: first those that go, then those that are told that they need not wait any longer.
inline settle() {
    do
    :: candidates != 0 -> first_of(candidates, k); candidates = candidates & ~one(k); consider(k)
    :: candidates == 0 && (left_r | left_w) != 0 -> first_of(left_r | left_w, n); promote(n)
    :: candidates == 0 && (left_r | left_w) == 0 && hurt != 0 ->
        first_of(hurt, k);
        hurt = hurt & ~one(k);
        assert(S4_complete_is_final || !has(complete, k));
        if
        :: has(waiting, k) ->
            witness(a_waiting_transaction_is_wounded);
            tell(k, must_restart);
#ifndef DROP_S5
            withdraw(k)
#endif
        :: else -> witness(a_running_transaction_is_wounded)
        fi
    :: else -> break
    od
}

// Ends a hold. A guard that goes takes its tokens with it; one that is revoked goes on naming buffers and tokens.
inline unmark(i, is_revoked) {
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        if
        :: has(hold_w[i], m) ->
            assert(S7_late_unlock || has(writers[m], i));
            writers[m] = writers[m] & ~one(i);
            accepted[m] = 0; // the sequence grows
            left_w = left_w | one(m)
        :: has(hold_r[i], m) ->
            assert(S7_late_unlock || has(readers[m], i));
            readers[m] = readers[m] & ~one(i);
#ifdef DROP_S3
            accepted[m] = accepted[m] & ~(is_revoked -> 0 : one(i));
#else
            accepted[m] = accepted[m] & ~one(i);
#endif
            left_r = left_r | one(m)
        :: else -> skip
        fi;
        m++
    od
}

inline check() {
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        assert(S1_one_writer_or_readers ||
               writers[m] == 0 || (readers[m] == 0 && (writers[m] & (writers[m] - 1)) == 0));
        assert(S3_stale_token || (accepted[m] & ~(readers[m] | writers[m])) == 0);
        m++
    od;
    j = 0;
    do
    :: j == ACQUISITIONS -> break
    :: else ->
        assert(S2_all_or_nothing || has(is_transaction, j) || !has(waiting, j) || !holds(j));
        // Together with the four below: what is complete loses nothing but by its own doing, or by its lease (S4).
        assert(S2_all_or_nothing || !has(complete, j) || (hold_r[j] == want_r[j] && hold_w[j] == want_w[j]));
        assert(S5_one_outcome || has(waiting, j) == (phase[j] == waits || phase[j] == waits_again));
        blocked = 0;
        m = 0;
        do
        :: m == BUFFERS -> break
        :: else ->
            // What acquisitions know and what buffers know is the same.
            assert(S2_all_or_nothing || has(readers[m], j) == (has(hold_r[j], m) && !has(expired, j)));
            assert(S2_all_or_nothing || has(writers[m], j) == (has(hold_w[j], m) && !has(expired, j)));
            assert(S2_all_or_nothing || has(waiting_readers[m], j) == (has(step_r[j], m) && has(waiting, j)));
            assert(S2_all_or_nothing || has(waiting_writers[m], j) == (has(step_w[j], m) && has(waiting, j)));
            if
            :: has(waiting, j) ->
                blocked = blocked | obstacles(j, m);
#ifdef WAIT_DIE
                assert(S8_waits_for_older || !holds(j) || (obstacles(j, m) & ~complete & elders(j)) == 0)
#else
                assert(S8_waits_for_older || (obstacles(j, m) & ~(elders(j) | complete | wounded)) == 0)
#endif
            :: else -> skip
            fi;
            m++
        od;
        assert(L1_nobody_forgotten || !has(waiting, j) || blocked != 0);
        j++
    od;
    skip // a d_step must not end with a loop
}

// ---- Critical sections ----------------------------------------------------------------------------------------------

inline begin_transaction(i) {
    is_transaction = is_transaction | one(i);
    draw_ticket(i);
    phase[i] = running
}

// A newcomer. It is younger than all that wait: `elders` are all others.
inline lock_set(i) {
    step_r[i] = want_r[i];
    step_w[i] = want_w[i];
    look_for_obstacles(i);
    if
    :: blocked == 0 -> witness(a_set_is_granted_at_once); grant(i); phase[i] = holding
    :: else -> draw_ticket(i); phase[i] = waits; enqueue(i); have_others_give_way(i)
    fi
}

inline must_die(i) {
    x = 0;
#ifndef DROP_DEATH
    m = 0;
    do
    :: m == BUFFERS -> break
    :: else ->
        x = x | (holders_against(i, m) & is_transaction & ~complete) | queued_against(i, m);
        m++
    od;
    x = (holds(i) -> (x & elders(i)) : 0)
#endif
}

inline lock_step(i) {
    look_for_obstacles(i);
    x = 0;
#ifdef WAIT_DIE
    must_die(i);
#endif
    if
    :: blocked == 0 -> grant(i); phase[i] = running
    :: blocked != 0 && x != 0 ->
        witness(a_transaction_dies_instead_of_waiting);
        wounded = wounded | one(i);
        phase[i] = must_restart
    :: else -> phase[i] = waits; enqueue(i); have_others_give_way(i)
    fi
}

inline done(i) {
    if
    :: has(wounded, i) -> witness(a_wounded_transaction_completes)
    :: else -> skip
    fi;
#ifdef REMEMBER_RETRIES
    if
    :: has(retried, i) -> witness(a_transaction_completes_after_a_retry)
    :: else -> skip
    fi;
#endif
    wounded = wounded & ~one(i);
    complete = complete | one(i);
    phase[i] = holding
}

// Also late, when the lease has ended: nothing happens then. And when a transaction gives back, to begin again.
inline unlock(i, next) {
    if
#ifndef DROP_S7
    :: has(expired, i) -> witness(an_unlock_is_late)
#endif
    :: else -> unmark(i, false)
    fi;
    hold_r[i] = 0;
    hold_w[i] = 0;
    expired = expired & ~one(i);
    wounded = wounded & ~one(i);
    complete = complete & ~one(i);
    phase[i] = next
}

// It holds nothing, and is as old as ever.
inline wait_again(i) {
    assert(S2_all_or_nothing || (hold_r[i] | hold_w[i]) == 0);
    phase[i] = waits_again;
    enqueue(i);
    consider(i);
    if
    :: has(waiting, i) -> have_others_give_way(i)
    :: else -> skip
    fi
}

inline revoke(i) {
    if
    :: has(complete, i) -> witness(a_lease_ends_a_complete_hold)
    :: !has(complete, i) && !has(waiting, i) -> witness(a_lease_ends_an_incomplete_hold)
    :: else ->
        witness(a_lease_ends_a_waiting_transaction);
        withdraw(i);
        tell(i, running);
        step_r[i] = 0;
        step_w[i] = 0
    fi;
    unmark(i, true);
    expired = expired | one(i)
}

inline cancel(i) {
    witness(a_wait_is_cancelled);
#ifdef DROP_S2
    waiting = waiting & ~one(i); // its places in the queues remain
#else
    withdraw(i);
#endif
    tell(i, (has(is_transaction, i) -> giving_up : over));
    step_r[i] = 0;
    step_w[i] = 0
}

inline try_upgrade(i, b) {
    if
#ifdef DROP_R4_UPGRADE
    :: writers[b] == 0 && (waiting_readers[b] | waiting_writers[b]) == 0 ->
#else
    :: readers[b] == one(i) && (waiting_readers[b] | waiting_writers[b]) == 0 -> // R4
#endif
        witness(an_upgrade);
        readers[b] = readers[b] & ~one(i);
        writers[b] = writers[b] | one(i);
        accepted[b] = one(i);
        hold_r[i] = hold_r[i] & ~one(b);
        want_r[i] = want_r[i] & ~one(b);
        hold_w[i] = hold_w[i] | one(b);
        want_w[i] = want_w[i] | one(b)
    :: else -> witness(an_upgrade_is_refused)
    fi
}

inline downgrade(i, b) {
    writers[b] = 0;
    readers[b] = one(i);
    accepted[b] = one(i);
    hold_w[i] = hold_w[i] & ~one(b);
    want_w[i] = want_w[i] & ~one(b);
    hold_r[i] = hold_r[i] | one(b);
    want_r[i] = want_r[i] | one(b);
    if
    :: waiting_readers[b] != 0 -> witness(a_downgrade_before_waiting_readers)
    :: else -> skip
    fi;
    left_w = one(b)
}

inline release_early(i, b) {
    accepted[b] = (has(hold_w[i], b) -> 0 : accepted[b] & ~one(i));
    readers[b] = readers[b] & ~one(i);
    writers[b] = writers[b] & ~one(i);
    left_r = hold_r[i] & one(b);
    left_w = hold_w[i] & one(b);
    hold_r[i] = hold_r[i] & ~one(b);
    want_r[i] = want_r[i] & ~one(b);
    hold_w[i] = hold_w[i] & ~one(b);
    want_w[i] = want_w[i] & ~one(b)
}

// What is equal from here on is to be one state.
inline forget(i) {
    assert(S2_all_or_nothing || !has(waiting, i) && (hold_r[i] | hold_w[i]) == 0);
    want_r[i] = 0;
    want_w[i] = 0;
    step_r[i] = 0;
    step_w[i] = 0;
    has_ticket = has_ticket & ~one(i);
    is_transaction = is_transaction & ~one(i);
#ifdef REMEMBER_RETRIES
    retried = retried & ~one(i);
#endif
#ifdef STREAM
    phase[i] = (is_newcomer(i) -> not_begun : over);
    forget_age(i);
#else
    ended++;
#endif
    m = 0;
    do
    :: m == BUFFERS || ended < ACQUISITIONS -> break
    :: else ->
        assert(L2_quiescence || (readers[m] | writers[m] | waiting_readers[m] | waiting_writers[m]) == 0);
        m++
    od
}

// ---- Actions -------------------------------------------------------------------------------------------------------

#define me _pid
#define todo_r (want_r[me] & ~hold_r[me])
#define todo_w (want_w[me] & ~hold_w[me])
#define todo (todo_r | todo_w)
#define is_in_use (phase[me] == running || phase[me] == giving_up)
#define hears_of(mask) (is_in_use && has(mask, me)) // at its next lock; what it does then it may do later
#define is_undisturbed (is_in_use && ((wounded | expired) & one(me)) == 0)

inline choose_table() {
    do
    :: b < BUFFERS ->
        if
        :: want_r[me] = want_r[me] | one(b)
        :: want_w[me] = want_w[me] | one(b)
        :: b < BUFFERS - 1 || (want_r[me] | want_w[me]) != 0 -> skip
        fi;
        b++
    :: else -> break
    od
}

// Any part of what it has not locked yet.
inline choose_step() {
    do
    :: b < BUFFERS ->
        if
        :: has(todo, b) ->
            step_r[me] = step_r[me] | (todo_r & one(b));
            step_w[me] = step_w[me] | (todo_w & one(b))
        :: !has(todo, b) || (todo >> (b + 1)) != 0 || (step_r[me] | step_w[me]) != 0 -> skip
        fi;
        b++
    :: else -> break
    od
}

inline choose_held() {
    do
    :: has(hold_r[me] | hold_w[me], b) -> break
    :: ((hold_r[me] | hold_w[me]) >> (b + 1)) != 0 -> b++
    od
}

// Any number up to the limit, so that no progress depends on there being one.
inline choose_events() {
    do
    :: events < EVENTS -> events++
    :: break
    od
}

mtype = {
    Begin, Lock_set, Lock_step, Done, Unlock, Give_back, Wait_again, End_wait_again, Begin_anew, Revoke, Cancel,
    Try_upgrade, Downgrade, Release_early
};

active [ACQUISITIONS] proctype acquisition() {
    mtype act;
    byte b;
    do
    :: atomic {
        // What it does next, or what its clock or its stop request does to it,
        if
        :: may_begin ->
            if
            :: started == 0 -> choose_events()
            :: else -> skip
            fi;
            started = started + (started < ACQUISITIONS -> 1 : 0);
            choose_table();
            if
            :: SETS -> act = Lock_set
            :: TRANSACTIONS && may_be_transaction -> act = Begin
            fi
        :: is_undisturbed && todo != 0 -> choose_step(); act = Lock_step
        :: phase[me] == running && !has(expired, me) && todo == 0 -> act = Done
        :: phase[me] == holding -> act = Unlock
        :: phase[me] == must_restart -> act = Give_back
        :: hears_of(wounded) -> act = Give_back
        :: phase[me] == restarting -> act = Wait_again
        :: phase[me] == waited_again -> act = End_wait_again
        :: hears_of(expired) -> act = Begin_anew
        :: hears_of(expired) -> act = Unlock
        :: phase[me] == giving_up -> act = Unlock
        :: events > 0 && phase[me] == running && is_undisturbed -> events--; act = Unlock
        :: events > 0 && holds(me) -> events--; act = Revoke
        :: events > 0 && has(waiting, me) -> events--; act = Cancel
        :: events > 0 && holds(me) && (phase[me] == running || phase[me] == holding) ->
            events--;
            choose_held();
            if
            :: has(hold_r[me], b) -> act = Try_upgrade
            :: has(hold_w[me], b) -> act = Downgrade
            :: act = Release_early
            fi
        fi;
        d_step { // is one critical section.
#ifdef STREAM
            if
            :: phase[me] == not_begun || (IS_YOUNG_AGAIN && act == Give_back) -> become_youngest(me)
            :: else -> skip
            fi;
#endif
            left_r = 0;
            left_w = 0;
            candidates = 0;
            hurt = 0;
            if
            :: act == Begin -> begin_transaction(me)
            :: act == Lock_set -> lock_set(me)
            :: act == Lock_step -> lock_step(me)
            :: act == Done -> done(me)
            :: act == Unlock -> unlock(me, over)
            :: act == Give_back || act == Begin_anew ->
                unlock(me, ((step_r[me] | step_w[me]) == 0 -> running : restarting));
#ifdef REMEMBER_RETRIES
                retried = retried | one(me)
#endif
            :: act == Wait_again -> wait_again(me)
            :: act == End_wait_again -> witness(a_wait_before_a_retry_ends); unlock(me, running)
            :: act == Revoke -> revoke(me)
            :: act == Cancel -> cancel(me)
            :: act == Try_upgrade -> try_upgrade(me, b)
            :: act == Downgrade -> downgrade(me, b)
            :: act == Release_early -> release_early(me, b)
            fi;
            settle();
            printf("%d %e: wants r%d w%d, locks r%d w%d, has r%d w%d: %e\n", me, act, want_r[me], want_w[me],
                   step_r[me], step_w[me], hold_r[me], hold_w[me], phase[me]);
            if
            :: phase[me] == over -> forget(me)
            :: else -> skip
            fi;
            check();
            act = 0;
            b = 0
        }
       }
    :: phase[me] == over -> break
    od
}

#ifdef STREAM
ltl everybody_completes { <> (phase[0] == over) }
#endif
