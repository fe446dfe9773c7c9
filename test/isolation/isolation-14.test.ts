import { gidsOf } from './spec.ts';
import { REFERENCE_SPECS } from './references.ts';
import { SPECS } from './specs.ts';
import { declareSpecs } from './suite.ts';

// Before version 18 statements are captured in another way, which matters where global transactions meet.
declareSpecs({
  major: 14,
  mode: 'undo',
  specs: [...SPECS, ...REFERENCE_SPECS].filter((spec) => gidsOf(spec).size > 1),
});
