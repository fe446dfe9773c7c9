/** Mesh: participants of any kind, enlisted by sidecars; commit in parallel, roll back in reverse. */
import { decideEnrolled } from '../branches/enrolment.ts';

/** The rules of mesh mode. */
export const decideMesh = decideEnrolled({ commit: 'parallel', rollback: 'reverse' });
