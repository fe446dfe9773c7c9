/** TCC: the initiator registers a branch and calls its try; then all are confirmed, or all cancelled, from the last. */
import { decideEnrolled } from '../branches/enrolment.ts';

/** The rules of TCC mode. A branch that was registered inside another comes after it, and so is finished before it. */
export const decideTcc = decideEnrolled({ commit: 'reverse', rollback: 'reverse' });
