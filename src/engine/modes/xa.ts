/** XA: branches are prepared database transactions, which do not depend on each other: all are finished at once. */
import { decideEnrolled } from '../branches/enrolment.ts';

/** The rules of XA mode. */
export const decideXa = decideEnrolled({ commit: 'parallel', rollback: 'parallel' });
