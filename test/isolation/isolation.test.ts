import { REFERENCE_SPECS } from './references.ts';
import { SPECS } from './specs.ts';
import { declareSpecs } from './suite.ts';

declareSpecs({ major: 18, mode: 'undo', specs: [...SPECS, ...REFERENCE_SPECS] });
